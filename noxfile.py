"""``nox`` runs what every change has to pass; ``nox --list`` shows the longer forms.

All sessions share one environment, made anew when pyproject.toml changes: five of them would take a minute each. The site has
one of its own, so that nobody waits for what builds it.
"""

from __future__ import annotations

import os
import shutil
import sys
from hashlib import blake2b
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "none"

PROJECT = Path(__file__).parent
ENVIRONMENTS = PROJECT / ".nox"
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
ENVIRONMENT = ENVIRONMENTS / f"timber-{PYTHON}"
GROUPS = {"timber": ("lint", "types", "telemetry", "web", "bench"), "site": ("docs",)}
EXTRAS = "quickstart,crypto,vector,migrations,fastapi,aiohttp,cli,telemetry,testing"


@nox.session
def lint(session: nox.Session) -> None:
    """Style, formatting and who may import whom."""
    run(session, "ruff", "check", ".")
    run(session, "ruff", "format", "--check", ".")
    run(session, "lint-imports", "--no-cache")


@nox.session
def types(session: nox.Session) -> None:
    """Two type checkers on the package and on what its users will write; and every type that users see is known."""
    run(session, "mypy")
    run(session, "basedpyright", "--pythonpath", str(ENVIRONMENT / "bin" / "python"))
    run(session, "basedpyright", "--verifytypes", "timber", "--ignoreexternal")


@nox.session
def tests(session: nox.Session) -> None:
    """The tests, in random order; arguments after ``--`` go to pytest in place of the usual ones."""
    run(session, "pytest", *(session.posargs or ["-n", "2", "-m", "not slow"]))


@nox.session(default=False)
def faults(session: nox.Session) -> None:
    """The long tests: every order of events, four processes under faults; and docs/reliability.md, by one test at a time."""
    if session.posargs:
        run(session, "pytest", *session.posargs)
        return
    try:
        run(session, "pytest", "tests/faults", "-m", "slow or seeded_bug", "--reliability")
    finally:
        run(session, "pytest", "-n", "2", "-m", "slow", "--ignore=tests/faults")


@nox.session
def docs_short(session: nox.Session) -> None:
    """The README's links and code."""
    run(session, "pytest", "tests/documents.py", "-k", "README")


@nox.session(default=False)
def docs(session: nox.Session) -> None:
    """The links and code of every page, and the tutorial from its first command to its last."""
    run(session, "pytest", "tests/documents.py", "tests/test_tutorial.py")


@nox.session(default=False)
def site(session: nox.Session) -> None:
    """The pages and the reference as a site, in build/site; a warning is an error."""
    shutil.rmtree(PROJECT / "build" / "site", ignore_errors=True)
    run(
        session,
        *("sphinx-build", "--fail-on-warning", "--keep-going", "--fresh-env", "--quiet"),
        *(session.posargs or ["docs", "build/site"]),
        environment="site",
    )


@nox.session
def bench_short(session: nox.Session) -> None:
    """Every benchmark once, for its results and not for its times."""
    run(session, "python", "-m", "benchmarks", "--short", *session.posargs)


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Timber beside asyncpg and SQLAlchemy."""
    run(session, "python", "-m", "benchmarks", *session.posargs)


@nox.session(default=False)
def search_quality(session: nox.Session) -> None:
    """How well searches find what is asked for; by meaning too, where an embedding model is installed."""
    run(session, "python", "-m", "benchmarks.search")


def run(session: nox.Session, program: str, *arguments: str, environment: str = "timber") -> None:
    """Run a program of the shared environment, or of another one."""
    binaries = _make_environment(session, environment) / "bin"
    # Some look for the Python that they are to speak of on the path.
    path = os.pathsep.join([str(binaries), os.environ.get("PATH", "")])
    session.run(str(binaries / program), *arguments, external=True, env={"PATH": path})


def _make_environment(session: nox.Session, name: str) -> Path:
    folder = ENVIRONMENTS / f"{name}-{PYTHON}"
    # The path too: an environment that was moved points to where it was.
    wanted = (PROJECT / "pyproject.toml").read_bytes() + bytes(PROJECT)
    stamp = folder / "made-for"
    digest = blake2b(wanted, digest_size=16).hexdigest()
    if stamp.exists() and stamp.read_text(encoding="utf-8") == digest:
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    groups = nox.project.dependency_groups(
        nox.project.load_toml(PROJECT / "pyproject.toml"), *GROUPS[name]
    )
    packages = ["--editable", f"{PROJECT}[{EXTRAS}]", *groups]
    python = str(folder / "bin" / "python")
    if uv := shutil.which("uv"):
        make = [uv, "venv", "--quiet", "--python", sys.executable, str(folder)]
        install = [uv, "pip", "install", "--quiet", "--python", python]
    else:
        make = [sys.executable, "-m", "virtualenv", "--quiet", str(folder)]
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    session.run_install(*make, external=True)
    session.run_install(*install, *packages, external=True)
    stamp.write_text(digest, encoding="utf-8")
    return folder
