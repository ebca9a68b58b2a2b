"""What ``timber privacy`` tells people."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from timber.privacy.erasing import ErasureReport
    from timber.privacy.purging import PurgeReport
    from timber.privacy.summarising import UserDataSummary
    from timber.privacy.verifying import DeletionReport


def show(found: UserDataSummary) -> None:
    """Print what there is of a person as a table."""
    from timber.cli.screen import Screen

    screen = Screen()
    columns = {"Model": "left", "Rows": "right", "Deleted": "right", "On erasure": "left"}
    rows = [
        [model.model, f"{model.rows:,}", f"{model.deleted:,}", model.on_erasure]
        for model in found.models
    ]
    screen.table("What there is of this person", columns, rows)
    for name, reason in found.undeclared.items():
        typer.echo(f"{name} does not declare personal_data, though {reason}.")


def as_data(report: DeletionReport) -> dict[str, Any]:
    """A verification as JSON has it."""
    return {"gone": bool(report), **asdict(report)}


def erased(
    done: Iterable[tuple[str, ErasureReport, DeletionReport]],
) -> Iterator[str]:
    """What erasures did and left, line by line."""
    nobody = True
    for _, report, verified in done:
        nobody = False
        for name, counts in report.done.items():
            told = ", ".join(f"{number:,} {what}" for what, number in counts.items())
            yield f"{name}: {told}"
        for name, number in report.left.items():
            yield f"{name}: {number:,} left, call it again"
        yield from str(verified).splitlines()
    if nobody:
        yield "No erasure was interrupted."


def purged(report: PurgeReport) -> Iterator[str]:
    """What a purge did and left, line by line."""
    for name, number in report.deleted.items():
        yield f"{name}: {number:,} deleted"
    for name, number in report.left.items():
        yield f"{name}: {number:,} left, which somebody holds or something refers to"
    if not report.deleted and not report.left:
        yield "Nothing has outlived its time."
