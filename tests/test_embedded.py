from __future__ import annotations

import asyncio
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NoReturn

import pytest

from tests.harness.databases import connected, run_apart
from timber.database import embedded_cluster
from timber.database.embedded import EmbeddedPostgres
from timber.database.embedded_watch import Postmaster
from timber.errors import ConfigurationError

USER_OF_THE_SERVER = """
import asyncio, sys
from timber.database.embedded import EmbeddedPostgres

async def main():
    server = await EmbeddedPostgres.start(sys.argv[1])
    try:
        print(server.pid, flush=True)
        if sys.argv[2] == "stays":
            await asyncio.sleep(60)
    finally:
        if sys.argv[2] == "stays":
            await server.stop()

asyncio.run(main())
"""


def gone(pid: int) -> bool:
    """Ended; what nobody has reaped yet counts too."""
    try:
        return ") Z " in Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except FileNotFoundError:
        return True


def comes_true(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def watches(directory: Path) -> list[str]:
    """The command lines of all processes that speak of this directory."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().decode(errors="replace")
        except OSError:
            continue
        if str(directory) in line and "embedded_watch" in line:
            lines.append(line)
    return lines


def temporary_directory() -> Generator[Path]:
    # pytest's own folders are closed to the account that the server runs as when this is root.
    directory = Path(tempfile.mkdtemp(prefix="timber-"))
    yield directory
    assert comes_true(lambda: Postmaster.of(directory / "data") is None)
    shutil.rmtree(directory)


@pytest.fixture
def new_directory() -> Generator[Path]:
    yield from temporary_directory()


@pytest.fixture(scope="module")
def directory() -> Generator[Path]:
    """A directory whose cluster has been made, which is most of the time a first start takes."""
    for directory in temporary_directory():
        EmbeddedPostgres.start_blocking(directory).stop_blocking()
        yield directory


@pytest.fixture
def user(directory: Path) -> Generator[Callable[[str], tuple[subprocess.Popen[str], int]]]:
    """Starts another process that uses the server; gives it and the server's id."""
    processes = []

    def start(how: str) -> tuple[subprocess.Popen[str], int]:
        process = subprocess.Popen(
            [sys.executable, "-c", USER_OF_THE_SERVER, str(directory), how],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        processes.append(process)
        assert process.stdout is not None
        return process, int(process.stdout.readline())

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@asynccontextmanager
async def running(directory: Path) -> AsyncGenerator[EmbeddedPostgres]:
    server = await EmbeddedPostgres.start(directory)
    try:
        yield server
    finally:
        await server.stop()


async def scalar(url: str, query: str) -> object:
    async with connected(url) as connection:
        return await connection.fetchval(query)


async def test_the_data_is_there_after_a_restart(directory: Path) -> None:
    async with running(directory) as server:
        await scalar(server.url, "CREATE TABLE kept AS SELECT 42 AS answer")
    assert gone(server.pid)
    async with running(directory) as server:
        assert await scalar(server.url, "SELECT answer FROM kept") == 42


async def test_the_data_is_under_the_working_directory_and_ignored_by_git(
    new_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(new_directory)
    server = await EmbeddedPostgres.start()
    await server.stop()
    made = new_directory / ".timber" / "postgres"
    assert (made / "data" / "PG_VERSION").exists()
    assert (made / ".gitignore").read_text() == "*\n"


async def test_times_and_texts_do_not_depend_on_the_machine(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"PGPORT": "1", "PGDATA": "/x", "LC_ALL": "xx", "TZ": "Asia/Tokyo"}.items():
        monkeypatch.setenv(name, value)
    async with running(directory) as server:
        assert await scalar(server.url, "SHOW timezone") == "UTC"
        assert await scalar(server.url, "SHOW server_encoding") == "UTF8"
        assert await scalar(server.url, "SELECT lower('ÄÖ')") == "äö"
        assert await scalar(server.url, "SELECT 'a' > 'B'") is True


async def test_only_the_caller_can_reach_the_server(directory: Path) -> None:
    async with running(directory) as server:
        assert await scalar(server.url, "SHOW listen_addresses") == ""
    data = (directory / "data").stat()
    assert stat.S_IMODE(data.st_mode) == 0o700
    assert data.st_uid != 0


async def test_the_folders_above_the_data_can_be_passed_but_not_listed(directory: Path) -> None:
    async with running(directory):
        assert not directory.stat().st_mode & stat.S_IROTH


async def test_the_server_runs_until_its_last_user_stops(directory: Path) -> None:
    async with running(directory) as first:
        async with running(directory) as second:
            assert first.pid == second.pid
        await second.stop()
        assert await scalar(first.url, "SELECT 1") == 1
    assert gone(first.pid)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_running_after_a_signal(directory: Path, user, number: int) -> None:
    process, server = user("stays")
    assert not gone(server)
    process.send_signal(number)
    process.wait()
    assert comes_true(lambda: gone(server))
    assert comes_true(lambda: not watches(directory))


def test_nothing_is_left_running_by_a_program_that_forgets_to_stop(directory: Path, user) -> None:
    process, server = user("forgets")
    process.wait()
    assert gone(server)


def test_processes_share_a_server_and_a_killed_one_does_not_take_it_away(
    directory: Path, user
) -> None:
    one, server = user("stays")
    _, same = user("stays")
    assert server == same
    one.kill()
    one.wait()
    mine = EmbeddedPostgres.start_blocking(directory)
    assert mine.pid == server
    assert run_apart(scalar(mine.url, "SELECT 1")) == 1
    mine.stop_blocking()
    assert not gone(server)


async def test_a_cancelled_start_leaves_nothing_running(directory: Path) -> None:
    starting = asyncio.create_task(EmbeddedPostgres.start(directory))
    await asyncio.sleep(0.05)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    await asyncio.sleep(0.3)
    assert Postmaster.of(directory / "data") is None


async def test_a_server_that_was_killed_recovers(directory: Path) -> None:
    async with running(directory) as server:
        os.kill(server.pid, signal.SIGKILL)
        assert comes_true(lambda: gone(server.pid))
        async with running(directory) as again:
            assert again.pid != server.pid
            assert await scalar(again.url, "SELECT 1") == 1


async def test_a_process_id_that_is_somebody_elses_by_now_does_not_matter(directory: Path) -> None:
    left_over = directory / "data" / "postmaster.pid"
    async with running(directory) as server:
        lines = left_over.read_text()
    left_over.write_text(lines.replace(str(server.pid), str(os.getpid()), 1))
    async with running(directory) as server:
        assert await scalar(server.url, "SELECT 1") == 1


@pytest.mark.parametrize("name", ["x" * 120, "a, b: $HOME `c` \"d\" 'e' é"])
async def test_any_folder_name_will_do(new_directory: Path, name: str) -> None:
    async with running(new_directory / name) as server:
        assert await scalar(server.url, "SELECT 1") == 1
    assert not server.socket_dir.exists()


async def test_a_half_made_cluster_is_made_again(new_directory: Path) -> None:
    (new_directory / "data.new").mkdir()
    (new_directory / "data.new" / "PG_VERSION").write_text("18")
    async with running(new_directory) as server:
        assert await scalar(server.url, "SELECT 1") == 1


async def test_a_directory_removed_under_a_running_server_is_no_error_at_the_end(
    new_directory: Path,
) -> None:
    async with running(new_directory / "postgres") as server:
        while (
            new_directory / "postgres"
        ).exists():  # it may make a file while others are taken away
            shutil.rmtree(new_directory / "postgres", ignore_errors=True)
        os.kill(server.pid, signal.SIGQUIT)


async def test_it_is_refused_in_production(
    new_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIMBER_ENV", "Production")
    with pytest.raises(ConfigurationError, match="TIMBER_ENV"):
        await EmbeddedPostgres.start(new_directory)
    assert not list(new_directory.iterdir())


async def test_a_missing_wheel_is_named(
    new_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_cluster.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r"pip install 'timber-async\[quickstart\]'"):
        await EmbeddedPostgres.start(new_directory)


async def test_a_server_that_does_not_start_says_why(directory: Path) -> None:
    with pytest.raises(ConfigurationError, match="shared_buffers"):
        await EmbeddedPostgres.start(directory, server_settings={"shared_buffers": "little"})
    assert Postmaster.of(directory / "data") is None


async def test_a_folder_that_cannot_be_made_is_named(new_directory: Path) -> None:
    (new_directory / "file").write_text("")
    with pytest.raises(ConfigurationError, match="file"):
        await EmbeddedPostgres.start(new_directory / "file" / "postgres")


async def test_a_server_being_started_for_too_long_is_an_error(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(directory: Path) -> NoReturn:
        raise TimeoutError("another process holds the lock")

    monkeypatch.setattr("timber.database.embedded.nobody_else", busy)
    with pytest.raises(ConfigurationError, match="another process"):
        await EmbeddedPostgres.start(directory)
