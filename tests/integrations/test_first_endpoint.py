"""What the pages call a first endpoint answers as they say."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import orjson
import pytest

from tests.cache.servers import free_port

PROJECT = Path(__file__).parent.parent.parent
SECTION = re.compile(
    r"^## A first endpoint\n.*?^```python\n(?P<code>.*?)^```\n"
    r".*?^```sh\n(?P<run>.*?)\n```\n.*?^```sh\n(?P<ask>.*?)\n```\n",
    re.MULTILINE | re.DOTALL,
)


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("page", ["README.md", "docs/aiohttp.md"])
def test_the_first_endpoint_of_a_page_answers(page: str):
    section = SECTION.search((PROJECT / page).read_text(encoding="utf-8"))
    assert section is not None
    assert section["run"] == "python -m timber dev"
    assert section["ask"] == "curl -X POST 'localhost:8000/users/ada/sessions?symbol=AAPL'"
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="timber-first-") as folder:
        (Path(folder) / "main.py").write_text(section["code"])
        process = subprocess.Popen(
            [sys.executable, "-m", "timber", "dev", "--port", str(port)],
            cwd=folder,
            env={k: v for k, v in os.environ.items() if not k.startswith("TIMBER_")},
            stdout=subprocess.DEVNULL,
        )
        try:
            answer = ask(f"http://127.0.0.1:{port}/users/ada/sessions?symbol=AAPL")
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)
    assert (answer["user_id"], answer["symbol"]) == ("ada", "AAPL")


def ask(url: str) -> dict[str, str]:
    """POST as soon as there is somebody who answers."""
    deadline = time.monotonic() + 90
    while True:
        request = urllib.request.Request(url, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=30) as reply:
                assert reply.status == 201
                answer: dict[str, str] = orjson.loads(reply.read())
                return answer
        except urllib.error.HTTPError:
            raise
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
