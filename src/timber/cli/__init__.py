"""The command line: ``python -m timber``, or ``timber`` where it is installed."""

from __future__ import annotations

import sys
from collections.abc import Sequence

_NEEDED = ("click", "rich", "typer")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the answer is the exit code."""
    try:
        # Here and not above: without the extra there is nothing to import, and somebody has to say so.
        from timber.cli.commands import run  # noqa: PLC0415

        return run(arguments)
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
