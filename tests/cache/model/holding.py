"""A search that has to find nothing."""

from __future__ import annotations

from collections.abc import Callable

from tests.cache.model.schedules import Search
from tests.cache.model.world import World

Record = Callable[[str, object], None]


def hold(
    make: Callable[[], World],
    record: Record,
    *,
    preemptions: int | None = None,
    limit: int | None = None,
    part: tuple[int, int] = (0, 1),
) -> None:
    """Look at every order, or at the first ``limit`` of them, and write down how many they were."""
    search = Search(make, preemptions=preemptions, limit=limit or 10_000_000, part=part)
    result = search.all()
    record("counts", str(result))
    print(result)  # noqa: T201  # pytest -rP shows it
    assert not result.violations, result.violations[0]
    assert limit or result.is_complete
    assert result.runs
