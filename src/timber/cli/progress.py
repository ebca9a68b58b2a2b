"""How far long work has come: a bar that names its unit, its pace and what is left of it."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

_KEPT = "Interrupted. What is done is kept: the same command goes on from there."


class Bar:
    """Long work that goes on: count what has been done with :meth:`advance`."""

    def __init__(self, shown: Progress, task: Any) -> None:
        self._shown = shown
        self._task = task
        self.done: int = 0

    @property
    def picture(self) -> RenderableType:
        """What it looks like at this moment."""
        return self._shown.get_renderable()

    def expect(self, total: int) -> None:
        """Say how much there is to do, where it is only known now."""
        self._shown.update(self._task, total=total)

    def advance(self, number: int = 1) -> None:
        """Count what has been done since."""
        self.done += number
        self._shown.advance(self._task, number)

    def name(self, title: str) -> None:
        """Say what is being done now."""
        self._shown.update(self._task, description=title)


@contextmanager
def progress(
    title: str,
    *,
    total: int | None = None,
    unit: str = "rows",
    resumes: bool = True,
    quiet: bool = False,
    console: Console | None = None,
) -> Generator[Bar]:
    """Show how far the work inside has come, on the terminal's error stream, so that answers can go to a file.

    To be put around ``asyncio.run(...)``, where an interruption arrives.

    Args:
        total: how much there is to do; None where it is not known.
        resumes: whether the same command goes on where this one was interrupted.
        quiet: show nothing, as where the answer is JSON.
    """
    console = console or Console(stderr=True, highlight=False)
    shown = Progress(
        SpinnerColumn(finished_text="[green]✓" if _knows_ticks(console) else "[green]+"),
        TextColumn("[bold]{task.description}"),
        BarColumn(bar_width=24, complete_style="green", finished_style="green"),
        TaskProgressColumn(),
        _Count(unit),
        _Left(),
        console=console,
        disable=quiet or not console.is_terminal,
    )
    bar = Bar(shown, shown.add_task(title, total=total))
    try:
        with shown:
            yield bar
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_KEPT if resumes else "Interrupted.") from None


class _Count(ProgressColumn):
    """``12,000 of 100,000 rows, 3,400/s``."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        total = f" of {task.total:,.0f}" if task.total is not None else ""
        speed = task.finished_speed or task.speed
        pace = f", {speed:,.0f}/s" if speed else ""
        return Text(f"{task.completed:,.0f}{total} {self._unit}{pace}", style="cyan", no_wrap=True)


class _Left(ProgressColumn):
    """The time that is left, and at the end the time it took."""

    def __init__(self) -> None:
        super().__init__()
        self._left = TimeRemainingColumn(compact=True)
        self._taken = TimeElapsedColumn()

    def render(self, task: Task) -> Text:
        if task.finished or task.total is None:
            return Text.assemble(("in ", "dim"), self._taken.render(task))
        return Text.assemble(self._left.render(task), (" left", "dim"))


def _knows_ticks(console: Console) -> bool:
    return console.encoding.lower().startswith("utf")
