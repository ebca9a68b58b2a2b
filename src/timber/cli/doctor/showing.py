"""How findings look in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from timber.cli.doctor.findings import LEVELS, Finding, Level

if TYPE_CHECKING:
    from collections.abc import Sequence

_WIDTH: Final = 100
_STYLES: Final[dict[Level, str]] = {
    "ok": "green",
    "note": "cyan",
    "warning": "yellow",
    "problem": "bold red",
}
_MARKS: Final[dict[Level, tuple[str, str]]] = {
    "ok": ("✓", "+"),
    "note": ("•", "-"),
    "warning": ("!", "!"),
    "problem": ("✗", "x"),
}


def show(findings: Sequence[Finding], console: Console | None = None) -> None:
    """Print findings, and how many of each level there are."""
    console = console or Console(highlight=False)
    plain = not console.encoding.lower().startswith("utf")
    table = Table.grid(padding=(0, 1), expand=False)
    table.width = min(console.width, _WIDTH)
    table.add_column(width=1)
    table.add_column(max_width=22, overflow="fold")
    table.add_column(ratio=1, overflow="fold")
    for finding in findings:
        style = _STYLES[finding.level]
        found = Text(finding.found, style="" if finding.level != "ok" else "dim")
        table.add_row(
            Text(_MARKS[finding.level][plain], style=style),
            Text(finding.about, style="bold"),
            found,
        )
        if finding.advice:
            advice = Table.grid(padding=(0, 1), expand=True)
            advice.add_column(width=1)
            advice.add_column(ratio=1, overflow="fold")
            advice.add_row(Text(">" if plain else "→", style=style), finding.advice)
            table.add_row("", "", advice)
    console.print(table)
    console.print()
    console.print(_sum(findings))


def _sum(findings: Sequence[Finding]) -> Text:
    parts: list[tuple[str, str]] = []
    for level in reversed(LEVELS[1:]):
        number = sum(finding.level == level for finding in findings)
        if number:
            parts.append((f"{number} {level}{'s' * (number > 1)}", _STYLES[level]))
    if not parts:
        return Text("Everything is as it should be.", style="bold green")
    return Text(", ").join(Text(text, style=style) for text, style in parts)
