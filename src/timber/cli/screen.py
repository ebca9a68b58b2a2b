"""How the demo looks: a line for each step with its time, and a table."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager

from rich import box
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn
from rich.table import Table
from rich.text import Text

_WIDTH = 88
_TITLE = 30


class Step:
    """A step that is running: what it has found goes beside its title, and further lines below."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self.found = ""
        self.below: list[RenderableType] = []

    def note(self, text: str, style: str = "dim") -> None:
        """Put a line below the step."""
        self.below.append(Text(text, style=style))

    def say(self, text: str, style: str = "yellow") -> None:
        """Print a line at once, while the step goes on."""
        self._console.print(Padding(Text(text, style=style), (0, 0, 0, 2), expand=False))


class Load(Step):
    """A step that has a bar: how far it has come."""

    def __init__(self, console: Console, total: int, unit: str) -> None:
        super().__init__(console)
        self.bar: Progress = Progress(
            BarColumn(),
            TaskProgressColumn(),
            MofNCompleteColumn(),
            TextColumn(unit),
            console=console,
            transient=True,
            disable=not console.is_interactive,  # nothing moves in a file
        )
        self._task = self.bar.add_task("", total=total)
        self.below.append(self.bar)  # the full one stays

    def advance(self, number: int) -> None:
        """Count what has been done since."""
        self.bar.advance(self._task, number)


class Screen:
    """Writes to the terminal, or plainly to a file or pipe.

    Attributes:
        steps: what each step found, for programs.
        trouble: what ended them early, None if nothing did.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.steps: list[dict[str, object]] = []
        self.trouble: str | None = None
        self._console = console or Console(highlight=False)
        self._width = min(self._console.width, _WIDTH)
        self._began = time.perf_counter()
        utf8 = self._console.encoding.lower().startswith("utf")
        self._done, self._failed, self._spinner = ("✓", "✗", "dots") if utf8 else ("+", "x", "line")

    def title(self, text: str, below: str) -> None:
        """The head of it all."""
        content = Text.assemble((text, "bold"), "\n", (below, "dim"))
        self._console.print(Panel(content, width=self._width, border_style="green", padding=(0, 2)))

    @contextmanager
    def step(self, title: str) -> Generator[Step]:
        """One step: a spinner while it runs, then its line; one that raises gets a cross."""
        step = Step(self._console)
        spinner = self._console.status(
            f" {title} ...", spinner=self._spinner, spinner_style="green"
        )
        with self._timed(step, title), spinner:
            yield step

    @contextmanager
    def load(self, title: str, total: int, unit: str) -> Generator[Load]:
        """One step with a progress bar, which stays below its line."""
        load = Load(self._console, total, unit)
        with self._timed(load, title), load.bar:
            yield load

    @contextmanager
    def _timed(self, step: Step, title: str) -> Generator[None]:
        began = time.perf_counter()
        done = False
        try:
            yield
            done = True
        finally:
            self._line(step, title, time.perf_counter() - began, done=done)

    def table(self, title: str, columns: dict[str, str], rows: list[list[str]]) -> None:
        """A table; ``columns`` are headings and their alignment."""
        table = Table(
            title=title,
            box=box.SIMPLE_HEAD,
            width=self._width,
            collapse_padding=True,
            pad_edge=False,
            title_style="bold",
            title_justify="left",
            header_style="bold green",
        )
        for heading, justify in columns.items():
            table.add_column(
                heading, justify="left" if justify == "left" else "right", overflow="fold"
            )
        for row in rows:
            table.add_row(*(_coloured(cell) for cell in row))
        self._console.print(Padding(table, (1, 0, 0, 0)))

    def problem(self, kind: str, message: str) -> None:
        """What went wrong, for a person."""
        self.trouble = f"{kind}: {message}"
        self._console.print(
            Panel(
                Text(message),
                title=Text(kind, style="bold"),
                title_align="left",
                border_style="red",
                width=self._width,
            )
        )

    def end(self, text: str) -> None:
        """The last line."""
        seconds = time.perf_counter() - self._began
        line = Text.assemble(
            (f"{self._done} ", "bold green"), (f"Done in {seconds:.2f} s. ", "bold"), text
        )
        self._console.print(line, width=self._width)

    def _line(self, step: Step, title: str, seconds: float, *, done: bool) -> None:
        self.steps.append(
            {"title": title, "done": done, "found": step.found, "seconds": round(seconds, 6)}
        )
        grid = Table.grid(padding=(0, 1), expand=False)
        grid.width = self._width
        grid.add_column(width=1)
        # Folded, not cut: an ellipsis is more than some terminals know.
        grid.add_column(width=_TITLE, overflow="fold")
        grid.add_column(ratio=1, overflow="fold")
        grid.add_column(width=9, justify="right", overflow="fold")
        mark = (
            Text(self._done, style="bold green") if done else Text(self._failed, style="bold red")
        )
        grid.add_row(
            mark,
            Text(title, style="bold"),
            Text(step.found, style="cyan"),
            Text(_duration(seconds), style="dim"),
        )
        self._console.print(grid)
        for line in step.below:
            self._console.print(Padding(line, (0, 0, 0, 2), expand=False), width=self._width)


def _duration(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.1f} ms"


def _coloured(cell: str) -> Text:
    if cell.endswith("%") and cell[:1] in "+-":
        return Text(cell, style="green" if cell.startswith("+") else "red")
    return Text(cell)
