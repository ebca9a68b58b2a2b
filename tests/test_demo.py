"""`python -m timber demo`, run as people run it, and what it does when something is wrong."""

from __future__ import annotations

import asyncio
import io
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest
from rich.console import Console
from sqlalchemy import make_url

import timber.cli
from timber import NotificationService, ResearchService, Timber
from timber.cli import demo_stocks, main
from timber.cli.demo import run_demo
from timber.cli.demo_stocks import MODELS
from timber.cli.screen import Screen
from timber.cli.stocks import read_prices, returns_of, volatilities_of, volatility, yearly_growth

STEPS = (
    "Start PostgreSQL",
    "Read the prices",
    "One session per symbol",
    "Returns and volatility in bulk",
    "Two services, one transaction",
    "One that fails half-way",
    "A stale update",
    "Pages by keyset",
    "Explain the query plan",
    "A YAML model, in bulk",
    "Query the model",
    "A tracker per symbol",
    "Subscribe to the alerts",
    "Real months for the trackers",
    "Read it all back",
)

# In stocks.csv, every month that lost more than a quarter.
FALLS = {
    "AAPL": "-32.3% in May 2000, -57.7% in September 2000, -31.7% in January 2008, "
    "-33.0% in September 2008",
    "AMZN": "-32.6% in November 2000, -37.0% in December 2000, -41.1% in February 2001, "
    "-28.4% in August 2001, -33.2% in September 2001, -28.5% in July 2004, -30.5% in July 2006, "
    "-25.4% in November 2008",
    "MSFT": "-34.4% in April 2000",
}
ALERTS = [
    f"  Alert: {symbol}. The tracker of {symbol} has triggered: {fall}"
    for symbol, falls in FALLS.items()
    for fall in falls.split(", ")
]

HELP_AND_MODULES = """
import sys
from timber.cli import main
main(["--help"])
print({"sqlalchemy", "asyncpg", "pydantic"} & set(sys.modules))
"""

NOTHING = (0, 0, 0, 0, 0, 0)


def timber_command(*arguments: str, folder: Path, **environment: str) -> tuple[int, str]:
    """Run the command as in a terminal of 80 columns; its exit code and what it wrote."""
    result = subprocess.run(
        [sys.executable, "-m", "timber", *arguments],
        cwd=folder,
        env={**os.environ, "COLUMNS": "80", "PYTHONIOENCODING": "utf-8", **environment},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    return result.returncode, result.stdout + result.stderr


@pytest.fixture
def folder() -> Generator[Path]:
    """A folder that a server under another account can reach, unlike pytest's own when root runs the tests."""
    with tempfile.TemporaryDirectory(prefix="timber-demo-") as path:
        yield Path(path)


@pytest.fixture
def demo_url(fresh_database_url: str) -> str:
    url = make_url(fresh_database_url).set(drivername="postgresql")
    return url.render_as_string(hide_password=False)


def test_it_runs_on_the_embedded_server_twice(folder):
    for _ in range(2):
        code, output = timber_command("demo", folder=folder)
        assert code == 0, output
        lines = output.splitlines()
        for step in STEPS:
            [line] = [line for line in lines if line.startswith(f"✓ {step}")]
            assert re.search(r"\d+\.\d m?s$", line) or re.search(r"\d\.\d\d s$", line)
        assert "This Session has changed since it was read" in output
        assert "Index Scan using ix_research_data_user_id_created_at" in output
        for symbol in ("AAPL", "AMZN", "GOOG", "IBM", "MSFT"):
            assert re.search(rf"^ *{symbol} +\d+ ", output, re.MULTILINE)
        assert "100% 560/560 prices" in output
        assert [line for line in lines if line.startswith("  Alert: ")] == ALERTS
        assert re.search(
            r"^ *Symbol +Months .* Volatility +Best +Worst +Alerts *$", output, re.MULTILINE
        )
        assert "Traceback" not in output
        # As root it also says that it has opened the folder to the server's account.
        assert max(len(line) for line in lines if not line.startswith("chmod")) <= 80
    assert (folder / ".timber").is_dir()
    assert not (folder / ".timber/postgres/data/postmaster.pid").exists()


async def rows_in(url: str) -> tuple[int, ...]:
    """How many sessions, results, prices, trackers, events and notifications there are."""
    async with Timber(url, model_config_dirs=(MODELS,)) as app:
        return (
            await app.sessions.count(),
            await app.research.count(),
            await app.service("StockPrice").count(),
            await app.tracking.count(),
            await app.tracking.events.count(),
            await app.notifications.count(),
        )


async def test_it_runs_in_a_database_of_ones_own_and_cleans_up(demo_url, folder):
    code, output = await asyncio.to_thread(
        timber_command, "demo", "--database-url", demo_url, folder=folder
    )
    assert code == 0, output
    assert await rows_in(demo_url) == NOTHING
    assert not (folder / ".timber").exists()
    kept = (6, 607, 560, 5, 555, 13)
    for runs in (1, 2):  # a run that finds the rows of another one does as well
        code, output = await asyncio.to_thread(
            timber_command, "demo", "--keep", "--database-url", demo_url, folder=folder
        )
        assert code == 0, output
        assert await rows_in(demo_url) == tuple(runs * number for number in kept)


@pytest.mark.parametrize(
    ("arguments", "environment", "said"),
    [
        (("--database-url", "postgresql://app:hush@127.0.0.1:9/shop"), {}, "'shop' on 127.0.0.1:9"),
        (("--database-url", "nonsense"), {}, "database_url is not a URL"),
        ((), {"TIMBER_ENV": "production"}, "TIMBER_ENV is production"),
        ((), {"TIMBER_CONNECT_TIMEOUT": "soon"}, "connect_timeout"),
    ],
)
def test_what_is_wrong_is_said_without_a_traceback(folder, arguments, environment, said):
    code, output = timber_command("demo", *arguments, folder=folder, **environment)
    assert code == 2
    assert said in output
    assert "Traceback" not in output
    assert "hush" not in output


async def test_a_step_that_finds_something_else_fails_the_demo(demo_url, monkeypatch):
    save_many = ResearchService.save_many

    async def lose_one(self, items):
        return await save_many(self, list(items)[1:])

    monkeypatch.setattr(ResearchService, "save_many", lose_one)
    written = io.StringIO()
    screen = Screen(Console(file=written, width=80))
    code = await asyncio.to_thread(run_demo, demo_url, keep=False, screen=screen)
    assert code == 1
    assert "✗ Returns and volatility in bulk" in written.getvalue()
    assert "rows stored: expected 606, found 605." in written.getvalue()
    assert await rows_in(demo_url) == NOTHING


async def test_an_alert_that_does_not_arrive_fails_the_demo(demo_url, monkeypatch):
    notify = NotificationService.notify

    async def misdirect_one(self, user_id, template, context):
        if "May 2000" in context["reason"]:
            user_id = "somebody else"
        return await notify(self, user_id, template, context)

    monkeypatch.setattr(NotificationService, "notify", misdirect_one)
    monkeypatch.setattr(demo_stocks, "_PATIENCE", 1.0)
    written = io.StringIO()
    screen = Screen(Console(file=written, width=80))
    code = await asyncio.to_thread(run_demo, demo_url, keep=False, screen=screen)
    assert code == 1
    assert "✗ Real months for the trackers" in written.getvalue()
    assert "alerts that arrived" in written.getvalue()
    assert written.getvalue().count("  Alert: ") == len(ALERTS) - 1
    async with Timber(demo_url) as app:
        assert await app.notifications.count(user_id="somebody else") == 1
        assert await app.notifications.count() == 1


def test_a_terminal_shows_how_far_a_load_has_come():
    written = io.StringIO()
    console = Console(file=written, width=80, force_terminal=True, _environ={"TERM": "xterm"})
    with Screen(console).load("Prices", 8, "prices") as load:
        for _ in range(2):
            load.advance(4)
            load.bar.refresh()
    assert "50%" in written.getvalue()
    last = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written.getvalue()).splitlines()[-1]
    assert last.endswith("100% 8/8 prices")


def test_help_is_quick_and_names_the_commands(folder):
    code, output = timber_command("--help", folder=folder)
    assert code == 0
    assert "demo" in output
    loaded = subprocess.run(
        [
            sys.executable,
            "-c",
            HELP_AND_MODULES,
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert loaded.stdout.endswith("set()\n")


def test_an_unknown_command_is_an_error(capsys):
    assert main(["bogus"]) == 2
    assert "bogus" in capsys.readouterr().err
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("timber ")


@pytest.mark.parametrize("package", ["typer", "rich"])
def test_a_missing_extra_is_named_with_its_command(monkeypatch, capsys, package):
    for name in list(sys.modules):
        if name.partition(".")[0] == package or name.startswith("timber.cli."):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delattr(timber.cli, "commands", raising=False)
    arguments = ["demo", "--database-url", "nonsense"]
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert package in error
    assert "pip install 'timber-async[quickstart]'" in error


def test_a_terminal_without_unicode_sees_all_of_it(demo_url, folder):
    code, output = timber_command(
        "demo", "--database-url", demo_url, folder=folder, PYTHONIOENCODING="ascii"
    )
    assert code == 0, output
    assert "+ A YAML model, in bulk" in output
    assert output.isascii()


def test_a_terminal_without_unicode_is_told_of_problems(folder):
    code, output = timber_command(
        "demo",
        "--database-url",
        "postgresql://app@127.0.0.1:9/shop",
        folder=folder,
        PYTHONIOENCODING="ascii",
    )
    assert code == 2
    assert "x Start PostgreSQL" in output
    assert output.isascii()


def test_the_numbers_are_right():
    prices = read_prices()
    assert {symbol: len(months) for symbol, months in prices.items()} == {
        "AAPL": 123,
        "AMZN": 123,
        "GOOG": 68,
        "IBM": 123,
        "MSFT": 123,
    }
    gains = [item.gain for item in returns_of(prices["MSFT"])]
    assert gains[0] == pytest.approx(36.35 / 39.81 - 1)
    first, last = prices["MSFT"][0].price, prices["MSFT"][-1].price
    assert (1 + yearly_growth(gains)) ** (len(gains) / 12) == pytest.approx(last / first)
    assert volatility([0.01, -0.01, 0.03]) == pytest.approx(0.02 * 12**0.5)
    years = [item.year for item in volatilities_of(returns_of(prices["GOOG"]))]
    assert years == [2004, 2005, 2006, 2007, 2008, 2009, 2010]
