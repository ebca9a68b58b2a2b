"""What the tutorial builds is what it says: its files, its commands and what they print."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.cache.servers import free_port
from tests.pages import Block, blocks
from timber.models.registry import ModelRegistry

PAGE = Path(__file__).parent.parent / "docs" / "tutorial.md"
BLOCKS = list(blocks(PAGE.read_text(encoding="utf-8")))
DONE = "::done "


@pytest.fixture
def folder() -> Generator[Path]:
    """A folder that an embedded server under another account can reach."""
    with tempfile.TemporaryDirectory(prefix="timber-tutorial-") as path:
        yield Path(path)


def test_its_files_fit_together(folder: Path) -> None:
    for block in BLOCKS:
        if block.file is not None:
            block.apply(folder)
    for path in folder.glob("**/*.py"):
        compile(path.read_text(), path, "exec")
    columns = ModelRegistry(dirs=[folder / "school" / "models"]).table("Booking").columns
    assert "phone" in columns
    ruff = [sys.executable, "-m", "ruff"]
    for check in (["check", "--isolated", "--select", "E,F,I,ASYNC,UP"], ["format", "--check"]):
        done = subprocess.run(
            [*ruff, *check, "--line-length", "100", "--no-cache", "."],
            check=False,
            cwd=folder,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr


class Shell:
    """One bash from the first command of a page to its last; ``timber dev`` runs beside it, as in another terminal."""

    def __init__(self, folder: Path) -> None:
        kept = {
            k: v for k, v in os.environ.items() if not k.startswith(("TIMBER_", "PYTEST_", "COV_"))
        }
        programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        self._process = subprocess.Popen(
            ["bash"],
            cwd=folder,
            env={**kept, "PATH": programs},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._serving = False
        self.port = free_port()
        self.run("set -m")  # else what runs in the background would not hear of Ctrl-C

    def run(self, commands: str) -> str:
        """What the commands print; each has to end well."""
        printed: list[str] = []
        for command in re.sub(r"\\\n\s*", "", commands).splitlines():
            assert self._process.stdin
            assert self._process.stdout
            self._process.stdin.write(f"{command}\necho; echo '{DONE}'$?\n")
            self._process.stdin.flush()
            for line in self._process.stdout:
                if line.startswith(DONE):
                    assert line == f"{DONE}0\n", command + "\n" + "".join(printed)
                    break
                printed.append(line)
        return "".join(printed)

    def serve(self, command: str) -> None:
        """Begin ``timber dev`` in place of what it serves, and wait until it answers."""
        self.stop_serving()
        self.run(f"{command.strip()} --port {self.port} > served.txt 2>&1 &")
        self._serving = True
        until = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5).close()
            except OSError:
                assert time.monotonic() < until, self.run("cat served.txt")
                time.sleep(0.1)
            else:
                return

    def stop_serving(self) -> None:
        """Ctrl-C in the other terminal."""
        if self._serving:
            self.run("kill -INT %%; wait %% || true")
            self._serving = False

    def close(self) -> None:
        self.stop_serving()
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(30)
        assert self._process.stdout
        self._process.stdout.close()


def shows(printed: str, shown: str) -> bool:
    """Whether something was printed, however it is broken into lines; … stands for anything."""
    pattern = ".*".join(re.escape(re.sub(r"\s", "", part)) for part in shown.split("…"))
    return re.search(pattern, re.sub(r"\s", "", printed)) is not None


def play(shell: Shell, folder: Path, block: Block, shown: str | None) -> None:
    """Do what a block says, and hold what it prints against what is shown."""
    if block.file is not None:
        block.apply(folder)
    elif block.text.startswith("timber dev"):
        shell.serve(block.text)
    elif "pip install" in block.text:
        shell.run(block.text.splitlines()[-1])  # all of it is installed
    else:
        if "timber migrate" in block.text:
            shell.stop_serving()
        commands = block.text.replace("127.0.0.1:8000", f"127.0.0.1:{shell.port}")
        printed = shell.run(commands)
        until = time.monotonic() + 30
        while shown is not None and not shows(printed, shown):
            # The server begins again when a file has changed, and then answers.
            assert "/free" in commands, f"line {block.line}: {printed}"
            assert time.monotonic() < until, f"line {block.line}: {printed}"
            time.sleep(0.2)
            printed = shell.run(commands)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_its_commands_print_what_it_says(folder: Path) -> None:
    shell = Shell(folder)
    steps = [block for block in BLOCKS if block.file is not None or block.language != "python"]
    try:
        for block, following in zip(steps, [*steps[1:], None], strict=True):
            if block.file is None and block.language != "sh":
                continue  # what the command before prints, or commands for a server of one's own
            answer = following is not None and following.language in {"json", "text"}
            play(shell, folder, block, following.text if following and answer else None)
    finally:
        shell.close()
