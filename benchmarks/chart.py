"""The results as a drawing: a row an operation, a panel a way of calling, a logarithmic axis of multiples of the limit."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from benchmarks.harness import TASKS
from benchmarks.results import TITLES, mode

if TYPE_CHECKING:
    from benchmarks.estimates import Estimate
    from benchmarks.operations import Operation
    from benchmarks.results import Line, Results

_STYLE = """
svg { font-family: system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; font-size: 13px; }
.paper { fill: #ffffff; } .band { fill: #f6f8fa; }
text { fill: #1f2328; } .quiet { fill: #59636e; font-size: 12px; } .title { font-size: 17px; font-weight: 600; }
.panel { font-weight: 600; } .value { fill: #116329; font-size: 12px; font-weight: 600; }
.grid { stroke: #d1d9e0; } .limit { stroke: #1f2328; stroke-width: 1.5; } .aim { stroke: #cf222e; stroke-width: 2; }
.timber { fill: #1a7f37; stroke: #1a7f37; } .core { fill: #bc4c00; stroke: #bc4c00; } .orm { fill: #6639ba; stroke: #6639ba; }
.whisker { stroke-width: 2; opacity: 0.45; }
@media (prefers-color-scheme: dark) {
.paper { fill: #0d1117; } .band { fill: #151b23; }
text { fill: #f0f6fc; } .quiet { fill: #9198a1; } .value { fill: #56d364; }
.grid { stroke: #3d444d; } .limit { stroke: #f0f6fc; } .aim { stroke: #ff7b72; }
.timber { fill: #3fb950; stroke: #3fb950; } .core { fill: #f0883e; stroke: #f0883e; } .orm { fill: #ab7df8; stroke: #ab7df8; }
}
"""

_NAMESPACE = "http://www.w3.org/2000/svg"
_WIDTH = 980
_MARGIN = 24
_LABELS = 246
_VALUES = 46
_GAP = 26
_TOP = 118
_ROW = 34
_BOTTOM = 62
_PANEL = (_WIDTH - 2 * _MARGIN - _LABELS - _GAP) / 2 - _VALUES
_TICKS = (0.125, 0.25, 0.5, 1, 2, 4, 8, 16, 32, 64)


def draw(results: Results) -> str:
    """An SVG document, readable on light and on dark paper."""
    operations = results.operations
    height = _TOP + _ROW * len(operations) + _BOTTOM
    axis = _Axis.around(results.lines)
    parts = [
        f'<svg xmlns="{_NAMESPACE}" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" role="img">',
        "<title>Time per operation as a multiple of asyncpg's own pool</title>",
        f"<style>{_STYLE}</style>",
        f'<rect class="paper" width="{_WIDTH}" height="{height}" rx="6"/>',
        _text(_MARGIN, 36, "Time per operation, as a multiple of asyncpg's own pool", "title"),
        _legend(),
    ]
    for row, operation in enumerate(operations):
        top = _TOP + _ROW * row
        if row % 2 == 0:
            parts.append(
                f'<rect class="band" x="{_MARGIN - 8}" y="{top}" width="{_WIDTH - 2 * _MARGIN + 16}" height="{_ROW}" rx="4"/>'
            )
        parts.append(_text(_MARGIN, top + _ROW / 2 + 4.5, operation.title))
    for column, tasks in enumerate((1, TASKS)):
        left = _MARGIN + _LABELS + _VALUES + column * (_PANEL + _GAP + _VALUES)
        parts += _panel(results, operations, tasks, left, axis)
    note = f"Median of {results.rounds} paired rounds, 95 % interval; left is faster; logarithmic axis; Timber with its cache off."
    parts += [_text(_MARGIN, height - 16, note, "quiet"), "</svg>"]
    return "\n".join(parts) + "\n"


class _Axis:
    """From a multiple of the limit to a part of a panel's width."""

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high

    @classmethod
    def around(cls, lines: list[Line]) -> _Axis:
        medians = [line.ratio(name).median for line in lines for name in line.measurement.seconds]
        return cls(
            min(0.5, *(ratio / 1.6 for ratio in medians)),
            max(4.0, *(ratio * 1.3 for ratio in medians)),
        )

    @property
    def ticks(self) -> list[float]:
        return [tick for tick in _TICKS if self.low <= tick <= self.high]

    def at(self, ratio: float) -> float:
        """A whisker that reaches beyond the axis ends with it."""
        shown = min(max(ratio, self.low), self.high)
        return math.log(shown / self.low) / math.log(self.high / self.low) * _PANEL


def _panel(
    results: Results, operations: list[Operation], tasks: int, left: float, axis: _Axis
) -> list[str]:
    bottom = _TOP + _ROW * len(operations)
    title = f"{mode(tasks)[0].upper()}{mode(tasks)[1:]}" + (", pool of 10" if tasks > 1 else "")
    parts = [_text(left + _PANEL / 2, _TOP - 14, title, "panel", "middle")]
    for tick in axis.ticks:
        x = left + axis.at(tick)
        parts.append(_stroke(x, _TOP, x, bottom + 5, "limit" if tick == 1 else "grid"))
        label = f"{tick:g} x" if tick != 1 else "limit"
        parts.append(_text(x, bottom + 21, label, "quiet", "middle"))
    for row, operation in enumerate(operations):
        middle = _TOP + _ROW * row + _ROW / 2
        line = results.line(operation, tasks)
        if line is None:
            continue
        for name in ("orm", "core", "timber"):
            parts += _figure(name, line.ratio(name), left, middle, axis)
        value = f"{line.ratio('timber').median:.2f}"
        parts.append(_text(left - 14, middle + 4, value, "value", "end"))
        if line.aim:
            x = left + axis.at(line.aim.bound)
            parts.append(_stroke(x, middle - 10, x, middle + 10, "aim"))
    return parts


def _figure(name: str, figure: Estimate, left: float, y: float, axis: _Axis) -> list[str]:
    x = left + axis.at(figure.median)
    low, high = left + axis.at(figure.low), left + axis.at(figure.high)
    return [_stroke(low, y, high, y, f"{name} whisker"), _mark(name, x, y)]


def _mark(name: str, x: float, y: float) -> str:
    """A shape of its own for each, for those who do not see the colours."""
    if name == "timber":
        return f'<circle class="timber" cx="{x:.1f}" cy="{y:.1f}" r="5.5"/>'
    if name == "core":
        return (
            f'<rect class="core" x="{x - 4.5:.1f}" y="{y - 4.5:.1f}" width="9" height="9" rx="1"/>'
        )
    points = f"{x:.1f},{y - 6:.1f} {x + 5.5:.1f},{y + 4.5:.1f} {x - 5.5:.1f},{y + 4.5:.1f}"
    return f'<polygon class="orm" points="{points}"/>'


def _legend() -> str:
    parts = []
    x, y = float(_MARGIN + 6), 66.0
    for name in ("timber", "core", "orm"):
        parts += [_mark(name, x, y), _text(x + 13, y + 4.5, TITLES[name])]
        x += 44 + 7.6 * len(TITLES[name])
    parts += [_stroke(x, y - 8, x, y + 8, "aim"), _text(x + 9, y + 4.5, "Timber's aim")]
    return "\n".join(parts)


def _stroke(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    return f'<line class="{style}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, style: str = "", anchor: str = "start") -> str:
    shape = f' class="{style}"' if style else ""
    place = f' text-anchor="{anchor}"' if anchor != "start" else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{shape}{place}>{escape(text)}</text>'
