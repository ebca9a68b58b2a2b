"""The benchmarks compare like with like; how fast anything is, no test asks."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any
from uuid import uuid4
from xml.etree import ElementTree as ET

import pytest

from benchmarks import rows
from benchmarks.__main__ import run
from benchmarks.agreement import DisagreementError, Traffic, check_agreement, check_statements
from benchmarks.chart import draw
from benchmarks.comparisons import Compared, Comparison
from benchmarks.estimates import estimate, paired_ratios
from benchmarks.operations import OPERATIONS, Operation
from benchmarks.report import as_json, markdown, write
from benchmarks.results import Results
from tests.harness.databases import Databases


async def test_a_short_run_finds_that_all_contenders_agree(
    test_databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIMBER_BENCH_DATABASE_URL", test_databases.server_url)
    chosen = [op for op in OPERATIONS if op.name in ("get", "three_writes")]

    results = await run(chosen, rounds=30, short=True)

    assert set(results.traffic) == {operation.name for operation in chosen}
    assert results.traffic["get"]["timber"].round_trips == 1
    assert all(
        set(line.measurement.seconds) == set(results.traffic["get"]) for line in results.lines
    )
    assert results.memory is not None
    assert "get by id" in markdown(results)
    assert as_json(results)["memory"]
    assert ET.fromstring(draw(results)).tag.endswith("svg")


async def test_a_suite_alone_is_written_without_what_it_has_not_timed(tmp_path: Path) -> None:
    async def call(_number: int) -> int:
        return 1

    ways = {"slow": call, "fast": call}
    comparison = Comparison("pair", "two ways", "slow", ways, lambda count: list(range(count)))
    measurement = await comparison.measure(6)
    results = Results({"Python": "3"}, rounds=6, compared=[Compared(comparison, measurement)])

    write(results, tmp_path)

    assert {path.name for path in tmp_path.iterdir()} == {"results.md", "results.json"}
    text = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert "| two ways | sequential | slow |" in text
    assert "results.svg" not in text
    assert "## Time per operation" not in text


@pytest.mark.parametrize("samples", [6, 7, 10, 30, 31, 100])
def test_the_interval_of_a_median_holds_it_in_95_percent_of_all_cases(samples: int) -> None:
    found = estimate([float(number) for number in range(samples)])
    skipped = int(found.low)
    missed = 2 * sum(math.comb(samples, rank) for rank in range(skipped + 1)) / 2**samples
    narrower = missed + 2 * math.comb(samples, skipped + 1) / 2**samples

    assert found.high == samples - 1 - skipped
    assert missed <= 0.05 < narrower


def test_a_round_is_compared_with_itself_only() -> None:
    assert paired_ratios([2.0, 20.0], [1.0, 10.0]) == [2.0, 2.0]


class _NoWorld:
    """Tables in which nothing is ever written."""

    async def written(self) -> list[dict[str, Any]]:
        return []


class _Contender:
    name = title = "contender"

    def __init__(self, answer: object) -> None:
        self._answer = answer

    async def get(self, _: object) -> object:
        return self._answer


async def _one_input(_: object) -> list[Any]:
    return [None]


_GET = Operation("get", "get by id", "get", _one_input)


async def _agree(*answers: object) -> None:
    contenders: Any = [_Contender(answer) for answer in answers]
    world: Any = _NoWorld()
    await check_agreement(_GET, contenders, world)


async def test_a_contender_with_another_result_is_found() -> None:
    with pytest.raises(DisagreementError, match=r"get by id.*result\[0\]\[0\]\.version"):
        await _agree({"id": 1, "version": 1}, {"id": 1, "version": 2})


async def test_equal_looking_values_of_other_types_disagree() -> None:
    with pytest.raises(DisagreementError):
        await _agree(1, 1.0)


async def test_keys_made_by_the_call_may_differ_but_not_those_that_were_there() -> None:
    await _agree({"id": uuid4()}, {"id": uuid4()})
    with pytest.raises(DisagreementError):
        await _agree({"id": rows.fixed_id(1, 1)}, {"id": rows.fixed_id(1, 2)})


def test_a_limit_with_other_statements_than_timber_is_none() -> None:
    timber = Traffic(("SELECT a, b FROM t WHERE t.id = $1",), 1)
    check_statements(_GET, Traffic(("SELECT b, a FROM t WHERE t.id=$1",), 1), timber)
    for other in (("SELECT a FROM t WHERE t.id = $1",), ("BEGIN", *timber.statements), ()):
        with pytest.raises(DisagreementError):
            check_statements(_GET, Traffic(other, 1), timber)
