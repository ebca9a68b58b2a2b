"""Draws the diagrams of the pages in this folder: ``python docs/images/diagrams.py``."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Final, Literal

FOLDER: Final = Path(__file__).parent
STYLE: Final = """
.paper { fill: #fdfaf5; stroke: #e2d3b8; }
.box { fill: #f3e6d0; stroke: #b98a4e; stroke-width: 1.4; }
.good { fill: #dcebd8; stroke: #5c8f55; }
.bad { fill: #f6dcd6; stroke: #b4604e; }
.faint { fill: none; stroke: #b98a4e; stroke-dasharray: 5 4; }
.line { fill: none; stroke: #7a4a21; stroke-width: 1.6; }
.life { stroke: #cdb48c; stroke-width: 1.4; stroke-dasharray: 2 4; }
.head { fill: #7a4a21; }
text { fill: #33291d; font: 15px system-ui, 'DejaVu Sans', sans-serif; }
.code { font: 14px ui-monospace, 'DejaVu Sans Mono', monospace; }
.name { font-weight: 600; }
.small { fill: #6b5a44; font-size: 13px; }
@media (prefers-color-scheme: dark) {
  .paper { fill: #1c1a17; stroke: #3d352a; }
  .box { fill: #33291c; stroke: #b98a4e; }
  .good { fill: #22331f; stroke: #6fa366; }
  .bad { fill: #3a221d; stroke: #c47a68; }
  .line { stroke: #d8b887; }
  .life { stroke: #5d4f3a; }
  .head { fill: #d8b887; }
  text { fill: #ece3d5; }
  .small { fill: #b8a88f; }
}
"""

Anchor = Literal["start", "middle", "end"]


class Drawing:
    """A picture made of boxes, arrows and words; it has a dark form of its own."""

    def __init__(self, width: int, height: int, title: str) -> None:
        self._parts = [
            (
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
                f'height="{height}" role="img"><title>{escape(title)}</title><style>{STYLE}</style>'
            ),
            (
                '<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" '
                'orient="auto-start-reverse"><path class="head" d="M0 1 L10 5 L0 9 z"/></marker></defs>'
            ),
            f'<rect class="paper" x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="8"/>',
        ]

    def box(self, x: int, y: int, width: int, height: int, kind: str = "box") -> None:
        self._parts.append(
            f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{height}" rx="6"/>'
        )

    def words(self, x: int, y: int, words: str, style: str = "", anchor: Anchor = "start") -> None:
        self._parts.append(
            f'<text class="{style}" x="{x}" y="{y}" text-anchor="{anchor}">{escape(words)}</text>'
        )

    def named(
        self,
        x: int,
        y: int,
        width: int,
        words: str,
        *,
        kind: str = "box",
        style: str = "name",
        height: int = 34,
    ) -> None:
        """A box with its words in the middle."""
        self.box(x, y, width, height, kind)
        self.words(x + width // 2, y + height // 2 + 5, words, style, "middle")

    def arrow(self, *points: tuple[int, int]) -> None:
        path = "M" + " L".join(f"{x} {y}" for x, y in points)
        self._parts.append(f'<path class="line" d="{path}" marker-end="url(#head)"/>')

    def life(self, x: int, top: int, bottom: int) -> None:
        self._parts.append(f'<line class="life" x1="{x}" y1="{top}" x2="{x}" y2="{bottom}"/>')

    def keep(self, name: str) -> None:
        text = "\n".join([*self._parts, "</svg>", ""])
        (FOLDER / f"{name}.svg").write_text(text, encoding="utf-8")


def rooms() -> None:
    drawing = Drawing(820, 452, "One call, room by room")
    drawing.words(40, 40, "await timber.sessions.create_session(...)", "code")
    floors = (
        ("service", "the domain's rules: moves of a status, owners, templates"),
        ("repository", "a checked row with its key; statements compiled once"),
        ("features", "validate, audit, embed, encrypt; and back: decrypt"),
        ("database", "the unit of work of this task, or one statement alone"),
        ("PostgreSQL", "one message: the row, its audit, its job, what a cache owes"),
    )
    for number, (name, does) in enumerate(floors):
        y = 76 + number * 74
        drawing.box(40, y, 640, 46)
        drawing.words(60, y + 28, name, "name")
        drawing.words(190, y + 28, does)
        drawing.arrow((110, y - (24 if number == 0 else 28)), (110, y - 2))
    drawing.arrow((680, 395), (714, 395), (714, 36), (420, 36))
    drawing.words(728, 200, "a row")
    drawing.words(728, 220, "becomes")
    drawing.words(728, 240, "a DTO")
    drawing.keep("rooms")


def unit_of_work() -> None:
    drawing = Drawing(820, 244, "A unit of work")
    drawing.words(30, 38, "async with timber.unit_of_work() as uow:", "code")
    drawing.box(30, 60, 620, 104, "faint")
    steps = ((44, 92, "BEGIN"), (160, 84, "a()"), (268, 120, "SAVEPOINT"), (412, 84, "b()"))
    for x, width, name in steps:
        drawing.named(x, 78, width, name)
    drawing.named(520, 78, 112, "COMMIT", kind="box good")
    drawing.named(684, 78, 106, "tell()")
    for start, end in ((136, 160), (244, 268), (388, 412), (496, 520), (632, 684)):
        drawing.arrow((start, 95), (end - 2, 95))
    drawing.words(90, 138, "with the first", "small", "middle")
    drawing.words(90, 154, "statement", "small", "middle")
    drawing.words(202, 138, "joins", "small", "middle")
    drawing.words(737, 138, "on_commit", "small", "middle")
    drawing.named(384, 188, 180, "ROLLBACK TO", kind="box bad")
    drawing.arrow((454, 112), (454, 186))
    drawing.words(466, 146, "an error undoes b() alone", "small")
    drawing.arrow((384, 205), (328, 205), (328, 114))
    drawing.words(30, 210, "any other error: ROLLBACK, all of it", "small")
    drawing.keep("unit-of-work")


def outcomes() -> None:
    drawing = Drawing(820, 250, "What became of a COMMIT")
    drawing.named(30, 60, 110, "COMMIT")
    drawing.named(530, 24, 150, "committed", kind="box good")
    drawing.arrow((140, 70), (180, 70), (180, 41), (528, 41))
    drawing.words(370, 34, "an answer", "small", "middle")
    drawing.named(220, 130, 150, "ask elsewhere")
    drawing.arrow((140, 84), (180, 84), (180, 147), (218, 147))
    drawing.words(50, 140, "connection lost", "small")
    drawing.words(220, 184, "pg_xact_status, the key of a lone", "small")
    drawing.words(220, 202, "insert, or the token of an update", "small")
    for y, name, then, kind in (
        (88, "committed", "", "box good"),
        (140, "rolled_back", "run() repeats it", "box"),
        (192, "unknown", "never repeated", "box bad"),
    ):
        drawing.arrow((370, 147), (470, 147), (470, y + 17), (528, y + 17))
        drawing.named(530, y, 150, name, kind=kind)
        drawing.words(694, y + 22, then, "small")
    drawing.keep("outcomes")


def coherence() -> None:
    drawing = Drawing(820, 452, "A write, and the copies elsewhere")
    lives = {"writer": 110, "PostgreSQL": 310, "Redis": 510, "another process": 710}
    for name, x in lives.items():
        drawing.named(x - 75, 20, 150, name)
        drawing.life(x, 54, 430)
    writer, postgres, redis, other = lives.values()
    drawing.arrow((writer, 92), (postgres, 92))
    drawing.words(120, 84, "the row, and what is owed", "small")
    drawing.arrow((writer, 130), (postgres, 130))
    drawing.words(120, 122, "COMMIT", "small")
    drawing.box(35, 150, 190, 52)
    drawing.words(130, 171, "drop own copies,", "small", "middle")
    drawing.words(130, 190, "overtake own loads", "small", "middle")
    drawing.arrow((writer, 232), (redis, 232))
    drawing.words(232, 224, "delete keys and generations, publish", "small")
    drawing.arrow((redis, 262), (other, 262))
    drawing.words(524, 254, "message: drop these", "small")
    drawing.box(615, 280, 190, 52)
    drawing.words(710, 301, "drop copies,", "small", "middle")
    drawing.words(710, 320, "overtake loads", "small", "middle")
    drawing.arrow((writer, 292), (postgres, 292))
    drawing.words(120, 284, "delete what was owed", "small")
    drawing.arrow((other, 380), (postgres, 380))
    drawing.words(
        700, 372, "the writer died: what is owed still, another process pays", "small", "end"
    )
    drawing.arrow((other, 412), (redis, 412))
    drawing.words(700, 404, "delete and publish", "small", "end")
    drawing.keep("coherence")


if __name__ == "__main__":
    rooms()
    unit_of_work()
    outcomes()
    coherence()
