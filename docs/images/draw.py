"""Draws the pictures of the command line in this folder: ``python docs/images/draw.py``."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console, Group
from rich.terminal_theme import MONOKAI

from timber import Timber
from timber.cli.demo import run_demo
from timber.cli.doctor.examining import examine
from timber.cli.doctor.findings import Finding
from timber.cli.doctor.showing import show
from timber.cli.progress import progress
from timber.cli.screen import Screen
from timber.database.statements import Statement
from timber.settings import TimberSettings

FOLDER = Path(__file__).parent
ORDERS = """
version: 1
models:
  - name: Order
    table: orders
    owner: buyer
    columns:
      - {name: buyer, type: String(20), nullable: false}
      - {name: session_id, type: UUID, foreign_key: Session.id}
"""


def terminal(width: int = 100) -> Console:
    """A terminal whose screen is kept."""
    return Console(
        record=True, width=width, force_terminal=True, color_system="truecolor", highlight=False
    )


def keep(console: Console, name: str, title: str) -> None:
    console.save_svg(str(FOLDER / f"{name}.svg"), title=title, theme=MONOKAI)


async def examined(folder: Path) -> list[Finding]:
    """What the doctor finds in a database that has been left alone for a while."""
    (folder / "orders.yaml").write_text(ORDERS)
    settings = TimberSettings(
        database_url="embedded",
        embedded_directory=folder / "data",
        model_config_dirs=(folder,),
        idle_in_transaction_session_timeout=None,
    )
    async with Timber(settings=settings) as timber:
        for sql in (
            "DROP INDEX ix_sessions_user_id_created_at",
            "CREATE INDEX again ON orders (session_id)",
            "CREATE INDEX once ON orders (session_id)",
        ):
            await timber.db.execute(Statement(sql, label="prepare"))
        async with timber.unit_of_work():
            await timber.sessions.create_session("user-1", "research")
            findings = await examine(settings, instances=6, busy_seconds=0.0)
            raise Found(findings)


class Found(Exception):  # noqa: N818  # it carries what was found out of a transaction that is not kept
    def __init__(self, findings: list[Finding]) -> None:
        self.findings = findings


def doctor(folder: Path) -> None:
    console = terminal()
    try:
        asyncio.run(examined(folder))
    except Found as found:
        findings = found.findings
    console.print("[bold]$[/] timber doctor --instances 6\n")
    here = str(folder / "data")
    show([replace(each, found=each.found.replace(here, ".timber")) for each in findings], console)
    keep(console, "doctor", "timber doctor")


def demo() -> None:
    console = Console(
        record=True, width=90, force_terminal=True, force_interactive=False, highlight=False
    )
    console.print("[bold]$[/] timber demo\n")
    run_demo("embedded", keep=False, screen=Screen(console))
    keep(console, "demo", "timber demo")


def long_work() -> None:
    console, quiet = terminal(110), Console(quiet=True, force_terminal=True)
    shown = []
    for title, total, done in (
        ("Encrypting Customer anew", 4_800, 4_800),
        ("Encrypting Invoice anew", 12_500, 7_300),
    ):
        with progress(title, total=total, console=quiet) as bar:
            for _ in range(20):
                time.sleep(0.05)
                bar.advance(done // 20)
            shown.append(bar.picture)
            console.print(Group(bar.picture))
    console.print("timber: Interrupted. What is done is kept: the same command goes on from there.")
    keep(console, "progress", "timber keys rotate")


if __name__ == "__main__":
    with TemporaryDirectory() as name:
        doctor(Path(name))
    demo()
    long_work()
