"""How long a new user needs to a first endpoint: does what the README says, in a new environment, and times it.

    python tests/first_endpoint.py [aiohttp]

Run by hand: it installs everything anew.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import venv
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

PROJECT: Final = Path(__file__).parent.parent
LIMIT: Final = 120.0
_BLOCK: Final = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def commands(framework: str) -> tuple[str, str, str, str]:
    """What the README says: to install, to write a service, to run it, and to ask it."""
    section = (PROJECT / "README.md").read_text(encoding="utf-8").partition("## Try it")[2]
    install, service, ask = _BLOCK.findall(section)[:3]
    install = install.partition(" && ")[0]
    write, _, run = service.strip().rpartition("\n")
    if framework == "aiohttp":
        install, created = re.findall(r"`((?:pip install|timber init)[^`]*)`", section)[:2]
        write = write.replace("timber init shop", created)
    return install, write, run, ask


def answers(ask: str) -> str:
    """What the README's request is answered with, as soon as it is."""
    until = time.monotonic() + LIMIT
    while time.monotonic() < until:
        done = subprocess.run(
            ["bash", "-c", f"{ask.strip()} --silent --fail"],
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode == 0:
            return done.stdout
        time.sleep(0.1)
    raise SystemExit("there was no answer")


def main(framework: str) -> None:
    install, write, run, ask = commands(framework)
    with socket.socket() as port:
        port.bind(("127.0.0.1", 8000))  # the README's own, which has to be free
    with TemporaryDirectory() as name:
        home = Path(name)
        venv.create(home / "environment", with_pip=True)
        path = os.pathsep.join([str(home / "environment" / "bin"), os.environ["PATH"]])
        kept = {k: v for k, v in os.environ.items() if not k.startswith("TIMBER_")}
        environment = {**kept, "PATH": path}
        began = time.monotonic()
        subprocess.run(["bash", "-ec", install], check=True, cwd=PROJECT, env=environment)
        installed = time.monotonic()
        with subprocess.Popen(
            ["bash", "-ec", f"{write}\nexec {run}"],
            cwd=home,
            env=environment,
        ) as running:
            try:
                answer = answers(ask)
                answered = time.monotonic()
            finally:
                running.send_signal(signal.SIGINT)
                running.wait()
    sys.stdout.write(answer + "\n")
    sys.stdout.write(
        f"{framework}: {answered - began:.1f} s to the first answer, {installed - began:.1f} s of it to install\n"
    )
    if answered - began > LIMIT:
        raise SystemExit(f"that is more than {LIMIT:g} s")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "fastapi")
