"""The command line: ``python -m timber``, or ``timber`` where it is installed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

_NEEDED = ("rich", "typer")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the answer is the exit code."""
    try:
        # By name and not above: without the extra there is nothing to import, and somebody has to say so.
        code: int = import_module("timber.cli.commands").run(arguments)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _NEEDED:
            raise
        print(
            f"timber: the command line needs {missing}, which is not installed. It comes with\n"
            "    pip install 'timber-async[quickstart]'",
            file=sys.stderr,
        )
        return 1
    return code
