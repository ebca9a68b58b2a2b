"""The ledger outside the database finds what is wrong between what was said and what is there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.journal import Account, Journal, Said


@pytest.mark.parametrize(
    ("said", "rows", "found"),
    [
        ("committed", 0, {"lost"}),
        ("committed", 1, {"lost", "halved"}),
        ("committed", 2, set()),
        ("committed", 3, {"doubled"}),
        ("rolled_back", 0, set()),
        ("rolled_back", 2, {"denied"}),
        ("unknown", 0, {"unresolved"}),
        ("failed", 2, {"unresolved"}),
        (None, 1, {"halved"}),
        (None, 2, set()),
    ],
)
def test_what_was_said_is_held_against_what_is_there(
    tmp_path: Path, said: Said | None, rows: int, found: set[str]
):
    journal = Journal(tmp_path / "journal")
    journal.begin("a", rows=2, purpose="test")
    if said is not None:
        journal.end("a", said, why=ValueError("x"))
    journal.close()
    works = journal.read()
    assert works["a"].more == {"purpose": "test"}
    account = Account.of(works, {"a": rows} if rows else {})
    wrong = {name for name, value in vars(account).items() if isinstance(value, list) and value}
    assert wrong == found
    if found:
        with pytest.raises(AssertionError, match=found.pop()):
            account.check()
    else:
        account.check()


def test_rows_of_nobodys_work_are_found(tmp_path: Path):
    assert Account.of({}, {"b": 1}).strangers == ["b"]


def test_several_processes_write_into_one_journal(tmp_path: Path):
    path = tmp_path / "journal"
    program = (
        "import sys; from pathlib import Path; from tests.faults.journal import Journal\n"
        "journal = Journal(Path(sys.argv[1]))\n"
        "for n in range(200):\n"
        "    journal.begin(f'{sys.argv[2]}-{n}'); journal.end(f'{sys.argv[2]}-{n}', 'committed')"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", program, str(path), str(n)]) for n in range(3)
    ]
    assert [process.wait(30) for process in running] == [0, 0, 0]
    works = Journal(path).read()
    assert len(works) == 600
    assert {work.said for work in works.values()} == {"committed"}
