"""The README's example is as long as it says and prints what it shows."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"


def test_the_example_prints_what_the_readme_shows():
    text = README.read_text(encoding="utf-8")
    [(code, shown)] = re.findall(
        r"^```python\n(.*?)^```\n\n```text\n(.*?)^```", text, re.MULTILINE | re.DOTALL
    )
    assert sum(bool(line.strip()) for line in code.splitlines()) <= 20
    with tempfile.TemporaryDirectory(prefix="timber-readme-") as folder:
        for _ in range(2):
            result = subprocess.run(
                [sys.executable, "-c", code],
                cwd=folder,
                capture_output=True,
                text=True,
                check=True,
                timeout=50,
            )
            assert result.stdout == shown


def test_the_commands_are_those_that_are_run_elsewhere():
    text = README.read_text(encoding="utf-8")
    assert "pip install '.[quickstart]' && python -m timber demo" in text
    assert "pip install nox && nox" in text
    introduction = text.split("## Try it")[0].strip().splitlines()[2:]
    assert len(introduction) == 5
