"""`timber dev` finds the application of a folder, serves it, and serves it again when a file changes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp
import pytest
from typer.testing import CliRunner

from timber.cli.beginning import Framework, write_service
from timber.cli.commands import app
from timber.cli.dev.finding import find_app
from timber.errors import ConfigurationError


def write(root: Path, **files: str) -> Path:
    for name, text in files.items():
        path = root / (name.replace("__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.parent / "__init__.py").touch()
        path.write_text(text)
    (root / "__init__.py").unlink(missing_ok=True)
    return root


def test_a_function_that_makes_an_application_goes_before_one_that_is_made(tmp_path: Path) -> None:
    write(tmp_path, shop__app="def create_app(): ...\napp = create_app()")
    assert str(find_app(tmp_path)) == "shop.app:create_app"


def test_applications_are_found_here_in_packages_and_in_src(tmp_path: Path) -> None:
    here, below = tmp_path / "here", tmp_path / "below"
    write(here, main="app: object = 1")
    assert str(find_app(here)) == "main:app"
    write(below, src__shop__main="application = 1", tests__app="app = 1")
    place = find_app(below)
    assert (str(place), place.directory) == ("shop.main:application", below / "src")
    assert find_app(below, "shop.main:application").directory == below / "src"


@pytest.mark.parametrize(
    ("files", "given", "said"),
    [
        ({}, None, "No application was found"),
        ({"app": "def create_app(:"}, None, "No application was found"),
        ({"app": "app = 1", "main": "app = 1"}, None, "app:app, main:app"),
        ({}, "shop.app", "does not read like package.module:name"),
        ({}, "shop/app.py:app", "does not read like"),
    ],
)
def test_where_it_cannot_be_told_which_it_says_what_to_type(
    tmp_path: Path, files: dict[str, str], given: str | None, said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said):
        find_app(write(tmp_path, **files), given)


def test_it_is_not_for_production(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(write(tmp_path, app="app = 1"))
    monkeypatch.setenv("TIMBER_ENV", "production")
    monkeypatch.setenv("TIMBER_DATABASE_URL", "embedded")
    result = CliRunner().invoke(app, ["dev"])
    assert result.exit_code == 2
    assert "TIMBER_ENV is production" in result.stderr


async def answer(session: aiohttp.ClientSession, url: str) -> str:
    """What it answers, once it does."""
    while True:
        try:
            async with session.get(url, headers={"X-User-Id": "me"}) as response:
                if response.status == 200:
                    return await response.text()
        except aiohttp.ClientError:
            pass
        await asyncio.sleep(0.2)


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("framework", Framework)
async def test_a_new_service_runs_and_runs_again_with_what_has_changed(
    framework: Framework,
) -> None:
    with TemporaryDirectory() as name, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
        free.close()
        write_service(Path(name), "shop", framework)
        folder = Path(name, "shop")
        kept = {k: v for k, v in os.environ.items() if not k.startswith("TIMBER_")}
        running = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "timber", "dev", "--json", "--port", port),
            cwd=folder,
            env=kept,
            stdout=PIPE,
        )
        try:
            assert running.stdout is not None
            text = (await running.stdout.readuntil(b"}\n")).decode()
            url = json.loads(text)["url"]
            async with aiohttp.ClientSession() as session:
                assert json.loads(await answer(session, f"{url}/notes"))["items"] == []
                source = folder / "shop" / "app.py"
                source.write_text(source.read_text().replace('"/notes', '"/papers'))
                assert json.loads(await answer(session, f"{url}/papers"))["items"] == []
        finally:
            running.send_signal(signal.SIGINT)
            await running.wait()
        assert not (folder / ".timber" / "postgres" / "data" / "postmaster.pid").exists()
