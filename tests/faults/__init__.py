"""Faults, and what Timber makes of them: each module holds one row of docs/reliability.md.

A module of a row reads::

    ROW = rows.KILLED

    async def kill(size: Size, report: Report, ...) -> None:
        ...                                     # raises AssertionError where the promise is not kept
        report.count("kills", size.kills)       # added up over the row's tests
        report.figure("first success", "median 0.4 s, max 0.9 s")

    @forms(Size(kills=2), Size(kills=50), timeout=900)
    async def test_every_acknowledged_commit_is_there(size: Size, report: Report, ...): ...
        await kill(size, report, ...)

    @seeded_bug("every lost COMMIT is called rolled back")
    async def test_a_wrong_outcome_is_caught(report: Report, monkeypatch, ...):
        monkeypatch.setattr(...)                # the bug is never in the package
        with pytest.raises(AssertionError, match="..."):
            await kill(Size(kills=2), report, ...)

- The first form is short and runs in plain ``nox``; the second is marked slow and runs in ``nox -s faults``, which also runs the
  seeded bugs and writes docs/reliability.md (``pytest --reliability``): what passed with its figures, what failed as failed.
- Chance comes from ``report.random`` alone, or from ``random`` itself, which pytest-randomly seeds: a fresh seed for every run,
  printed at its start, and the same again with ``--randomly-seed=N``.
- :class:`tests.faults.journal.Journal` is the ledger outside the database, for any number of processes.
"""
