"""The results as Markdown and as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from benchmarks.chart import draw
from benchmarks.memory import BOUND_MB
from benchmarks.results import TITLES, Aim, mode

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.comparisons import Compared
    from benchmarks.estimates import Estimate
    from benchmarks.results import Line, Results

_TITLE = "# Benchmarks\n"
_INTRODUCTION = """\
Written by `nox -s bench`. Time per operation that ends in pydantic DTOs, as a multiple of what asyncpg's own pool needs,
without its reset query, for the same statements and the same DTOs: 1.00 is the limit, less is faster. Timber runs with
its cache off, so every operation reaches PostgreSQL.

![Time per operation against the limit](results.svg)

Each figure is the median of {rounds} paired rounds with its 95 % interval (sign test). All contenders run in one
process and take turns in rotated order; before anything is timed, what they return and what they leave in the tables is
checked to be equal, and the limit's statements are checked on the wire to be Timber's. Sequential is one call after
another; 32 tasks share a pool of 10 connections.
"""


def write(results: Results, folder: Path) -> None:
    """Write ``results.md`` and ``results.json``, and ``results.svg`` where operations were timed against the limit."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.md").write_text(markdown(results), encoding="utf-8")
    text = json.dumps(as_json(results), indent=2, ensure_ascii=False)
    (folder / "results.json").write_text(text + "\n", encoding="utf-8")
    if results.lines:
        (folder / "results.svg").write_text(draw(results), encoding="utf-8")


def markdown(results: Results) -> str:
    parts = [_TITLE]
    if results.lines:
        parts.append(_INTRODUCTION.format(rounds=results.rounds))
    parts.append(_environment(results))
    if results.lines:
        parts.append(_times(results))
    aims = [line.orm_aim for line in results.lines if line.orm_aim]
    if aims:
        parts.append(_orm(aims))
    if results.compared:
        parts.append(_compared(results))
    if results.memory:
        parts.append(_memory(results))
    if results.traffic:
        parts.append(_traffic(results))
    return "\n".join(parts)


def progress(line: Line, *, measured: bool) -> str:
    """What is printed while the run goes on."""
    parts = [f"{line.operation.title:37}{mode(line.tasks):11}"]
    if measured:
        parts.append(f"limit {duration(line.measurement.typical('limit')):>8}")
        parts += [f"{name} {spread(line.ratio(name))}" for name in ("timber", "core", "orm")]
        parts += [f"{aim.text}: {verdict(aim)}" for aim in (line.aim, line.orm_aim) if aim]
    return "  ".join(parts)


def progress_of(compared: Compared, *, measured: bool) -> str:
    """What is printed of a comparison while the run goes on."""
    comparison = compared.comparison
    parts = [f"{comparison.title}, {mode(comparison.tasks)}"]
    for way in comparison.ways if measured else ():
        figure = f"{way} {duration(compared.measurement.typical(way))}"
        if way != comparison.base:
            figure += f" = {spread(compared.ratio(way))}"
        parts.append(" ".join(filter(None, [figure, compared.verdict(way)])))
    return "\n    ".join(parts)


def duration(seconds: float) -> str:
    microseconds = seconds * 1e6
    if microseconds < 20:
        return f"{microseconds:.1f} µs"
    return f"{microseconds:.0f} µs" if microseconds < 10_000 else f"{microseconds / 1000:.0f} ms"


def spread(figure: Estimate) -> str:
    digits = 2 if figure.median < 10 else 1
    return f"{figure.median:.{digits}f} ({figure.low:.{digits}f} to {figure.high:.{digits}f})"


def verdict(aim: Aim) -> str:
    return "reached" if aim.reached else "not reached"


def as_json(results: Results) -> dict[str, object]:
    return {
        "environment": results.environment,
        "rounds": results.rounds,
        "operations": [_line_json(line) for line in results.lines],
        "comparisons": [_compared_json(compared) for compared in results.compared],
        "memory": _memory_json(results),
        "traffic": {
            operation: {
                contender: {"round_trips": seen.round_trips, "statements": list(seen.counted)}
                for contender, seen in contenders.items()
            }
            for operation, contenders in results.traffic.items()
        },
    }


def _line_json(line: Line) -> dict[str, object]:
    measurement = line.measurement
    return {
        "operation": line.operation.name,
        "title": line.operation.title,
        "tasks": line.tasks,
        "calls_in_a_round": measurement.calls,
        "contenders": {
            name: {
                "microseconds": round(measurement.typical(name) * 1e6, 1),
                "ratio": _estimate_json(line.ratio(name)),
            }
            for name in measurement.seconds
        },
        "aims": [
            {
                "what": aim.what,
                "figure": _estimate_json(aim.figure),
                "bound": aim.text,
                "reached": aim.reached,
            }
            for aim in (line.aim, line.orm_aim)
            if aim
        ],
    }


def _compared_json(compared: Compared) -> dict[str, object]:
    comparison = compared.comparison
    return {
        "comparison": comparison.name,
        "title": comparison.title,
        "tasks": comparison.tasks,
        "base": comparison.base,
        "ways": {
            way: {
                "microseconds": round(compared.microseconds(way), 1),
                "ratio": _estimate_json(compared.ratio(way)),
                "aim": compared.verdict(way),
            }
            for way in comparison.ways
        },
    }


def _estimate_json(figure: Estimate) -> dict[str, float]:
    return {
        "median": round(figure.median, 3),
        "low": round(figure.low, 3),
        "high": round(figure.high, 3),
    }


def _memory_json(results: Results) -> dict[str, object] | None:
    memory = results.memory
    if memory is None:
        return None
    return {
        "rows": memory.rows,
        "start_mb": round(memory.start_mb, 1),
        "peak_mb": round(memory.peak_mb, 1),
        "above_mb": round(memory.above_mb, 1),
        "seconds": round(memory.seconds, 1),
        "bound_mb": BOUND_MB,
        "reached": memory.reached,
    }


def _environment(results: Results) -> str:
    facts = "; ".join(f"{name} {value}" for name, value in results.environment.items())
    return f"{facts}.\n"


def _times(results: Results) -> str:
    table = [
        "## Time per operation\n",
        f"| operation | | {TITLES['limit']} | **Timber** | aim | | {TITLES['core']} | {TITLES['orm']} |",
        "|---|---|--:|--:|--:|---|--:|--:|",
    ]
    for line in results.lines:
        aim = line.aim
        cells = [
            line.operation.title,
            mode(line.tasks),
            duration(line.measurement.typical("limit")),
            f"**{spread(line.ratio('timber'))}**",
            aim.text if aim else "",
            verdict(aim) if aim else "",
            spread(line.ratio("core")),
            spread(line.ratio("orm")),
        ]
        table.append(f"| {' | '.join(cells)} |")
    return "\n".join(table) + "\n"


def _orm(aims: list[Aim]) -> str:
    table = ["## Timber against the ORM\n", "| | figure | aim | |", "|---|--:|--:|---|"]
    table += [
        f"| {aim.what} | {spread(aim.figure)} | {aim.text} | {verdict(aim)} |" for aim in aims
    ]
    return "\n".join(table) + "\n"


def _compared(results: Results) -> str:
    table = [
        "## Beside one another\n",
        f"Ways of doing one thing, in the same run; ratios are to the first, medians of {results.rounds} paired rounds.\n",
        "| what | | way | time | ratio | aim |",
        "|---|---|---|--:|--:|---|",
    ]
    for compared in results.compared:
        comparison = compared.comparison
        for way in comparison.ways:
            is_base = way == comparison.base
            cells = [
                comparison.title if is_base else "",
                mode(comparison.tasks) if is_base else "",
                way,
                duration(compared.measurement.typical(way)),
                "" if is_base else spread(compared.ratio(way)),
                compared.verdict(way),
            ]
            table.append(f"| {' | '.join(cells)} |")
    return "\n".join(table) + "\n"


def _memory(results: Results) -> str:
    memory = results.memory
    assert memory is not None
    return (
        "## Memory\n\n"
        f"{memory.rows:,} rows streamed into DTOs in {memory.seconds:.1f} s, by a process of its own: "
        f"{memory.above_mb:.1f} MB above the {memory.start_mb:.1f} MB resident at the start "
        f"(aim ≤ {BOUND_MB} MB: {'reached' if memory.reached else 'not reached'}).\n"
    )


def _traffic(results: Results) -> str:
    table = [
        "## Round trips\n",
        "Counted on the wire for one call with warm connections; `results.json` has the statements.\n",
        f"| operation | {' | '.join(TITLES.values())} |",
        "|---|" + "--:|" * len(TITLES),
    ]
    for operation in results.operations:
        seen = results.traffic[operation.name]
        trips = [str(seen[name].round_trips) if name in seen else "" for name in TITLES]
        table.append(f"| {operation.title} | {' | '.join(trips)} |")
    return "\n".join(table) + "\n"
