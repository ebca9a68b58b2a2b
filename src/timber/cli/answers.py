"""How commands answer: text for people, one JSON object for programs, and an exit code that says how it went."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from typer.core import TyperGroup

from timber.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FOUND: Final = 1
"""The exit code of a command that did its work and found something wrong."""
FAILED: Final = 2
"""The exit code of a command that could not do its work, or was called in a way that cannot work."""
INTERRUPTED: Final = 130
"""The exit code of a command that was interrupted, by Ctrl-C for instance."""

_WANTED = "timber.json"
_CalledWrongly: type[Exception] = typer.BadParameter.__bases__[0]
"""What a command line that does not fit is refused with; where it is defined differs between versions of typer."""


def _note(context: typer.Context, wanted: bool) -> bool:  # noqa: FBT001  # typer calls it
    context.meta[_WANTED] = wanted
    return wanted


Json = Annotated[
    bool,
    typer.Option("--json", callback=_note, help="Print one JSON object, for programs to read."),
]
"""The option that every command has; errors then are JSON, too."""


class Commands(TyperGroup):
    """All commands: whatever error of Timber leaves one of them ends as its message and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        # Of a command that is called wrongly the option is never read.
        ctx.meta[_WANTED] = "--json" in ctx.args
        try:
            return super().invoke(ctx)
        except _CalledWrongly as error:
            if not ctx.meta[_WANTED]:
                raise  # its usage is shown beside it
            wrong: Any = error
            _tell(ctx, "UsageError", wrong.format_message())
            raise typer.Exit(FAILED) from error
        except ServiceError as error:
            _tell(ctx, type(error).__name__, error.message)
            raise typer.Exit(FAILED) from error
        except OSError as error:
            if error.filename is None:
                raise
            _tell(ctx, "ConfigurationError", f"Cannot use {error.filename}: {error.strerror}.")
            raise typer.Exit(FAILED) from error
        except KeyboardInterrupt as error:
            _tell(ctx, "Interrupted", str(error) or "Interrupted.")
            raise typer.Exit(INTERRUPTED) from error


def answer(data: Mapping[str, Any], lines: Iterable[object] = (), *, as_json: bool) -> None:
    """Print an answer: ``data`` as JSON where that is asked for, else ``lines``."""
    if as_json:
        typer.echo(json.dumps(data, indent=2, ensure_ascii=False, default=str))
        return
    for line in lines:
        typer.echo(line)


def _tell(context: Any, kind: str, message: str) -> None:
    if context.meta.get(_WANTED, False):
        answer({"error": {"type": kind, "message": message}}, as_json=True)
    else:
        typer.echo(f"timber: {message}", err=True)
