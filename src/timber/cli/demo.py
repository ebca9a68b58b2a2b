"""``timber demo``: the main job from end to end, each step checked."""

from __future__ import annotations

import asyncio
from uuid import uuid4

from rich.console import Console
from sqlalchemy import text

from timber.app import Timber
from timber.cli.answers import FAILED, FOUND, answer
from timber.cli.checks import CheckFailedError
from timber.cli.demo_steps import Demo
from timber.cli.demo_stocks import MODELS
from timber.cli.screen import Screen
from timber.errors import ServiceError
from timber.running import EMBEDDED


def run_demo(
    database_url: str, *, keep: bool, screen: Screen | None = None, as_json: bool = False
) -> int:
    """Run every step; 0 if each found what it should, 1 if one did not, 2 if it could not be done."""
    screen = screen or Screen(Console(quiet=True) if as_json else None)
    code = _show(database_url, screen, keep=keep)
    if as_json:
        answer({"steps": screen.steps, "problem": screen.trouble}, as_json=True)
    return code


def _show(database_url: str, screen: Screen, *, keep: bool) -> int:
    screen.title(
        "Timber demo",
        "Ten years of stock prices, through services, into a real PostgreSQL.\n"
        "Every step checks what it finds.",
    )
    try:
        asyncio.run(_run(database_url, screen, keep=keep))
    except CheckFailedError as failed:
        screen.problem("A step did not find what it should", str(failed))
        return FOUND
    except ServiceError as error:
        screen.problem(type(error).__name__, error.message)
        return FAILED
    screen.end("Every step found what it should" + ("." if keep else "; its rows are gone again."))
    return 0


async def _run(database_url: str, screen: Screen, *, keep: bool) -> None:
    timber = Timber(database_url, pool_size=2, max_overflow=0, model_config_dirs=(MODELS,))
    try:
        with screen.step("Start PostgreSQL") as step:
            await timber.start()
            if database_url != EMBEDDED:
                await timber.db.create_all_tables()
            step.found = await _version(timber)
        demo = Demo(timber, screen, user=f"demo-{uuid4().hex[:8]}")
        try:
            await demo.run()
        finally:
            if not keep:
                await demo.clean_up()
    finally:
        await timber.close()


async def _version(timber: Timber) -> str:
    async with timber.unit_of_work(read_only=True) as uow:
        number: str = await uow.session.scalar(text("SHOW server_version")) or ""
    number = number.partition(" ")[0]  # a distribution adds its own words
    if timber.settings.database_url == EMBEDDED:
        return f"{number} from a wheel, in {timber.settings.embedded_directory}/"
    return f"{number}, {timber.db.target}"
