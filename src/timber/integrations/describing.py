"""What a statement does and on which table, in few enough words for the name of a span and the label of a metric."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from timber.database.monitoring import Ran

_MAIN: Final = re.compile(r"\b(SELECT|INSERT|UPDATE|DELETE|MERGE|COPY|CALL)\b", re.IGNORECASE)
_TABLE: Final = re.compile(
    r'\b(?:FROM|INTO|UPDATE|JOIN|COPY|TABLE)\s+(?:ONLY\s+)?"?(?:\w+"?\."?)?([a-z_]\w*)',
    re.IGNORECASE,
)
_LITERAL: Final = re.compile(
    r"""
      [eubxn]?'(?:[^'\\]|''|\\.)*'     # text, with its escapes
    | \$(\w*)\$.*?\$\1\$               # text between dollars
    | (?<![\w$.])-?\d+(?:\.\d+)?(?:e[+-]?\d+)?\b   # numbers, but not $1
    """,
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)
_COMMENT: Final = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)


class Described(NamedTuple):
    """A statement in a few words.

    Attributes:
        operation: its SQL word: SELECT, INSERT, COPY.
        table: the table it is about; empty where there is none.
        text: its text with every value in it replaced by a question mark.
    """

    operation: str
    table: str
    text: str

    @property
    def summary(self) -> str:
        """``SELECT sessions``."""
        return f"{self.operation} {self.table}".rstrip()


@lru_cache(maxsize=2048)
def describe(sql: str) -> Described:
    """What a statement does; of those of Timber itself a text is always the same, so that it is read once."""
    text = _LITERAL.sub("?", _COMMENT.sub(" ", sql)).strip()
    first = text.partition(" ")[0].upper().rstrip(";") or "NOTHING"
    operation = first
    if first == "WITH":
        found = _MAIN.findall(text)
        words = [word.upper() for word in found]
        writes = [word for word in words if word != "SELECT"]
        operation = writes[0] if writes else "SELECT"
    table = _table(text, operation)
    return Described(operation, table, text)


def _table(text: str, operation: str) -> str:
    """The table that is written, or the first that is read."""
    if operation in ("INSERT", "UPDATE", "DELETE"):
        written = re.search(
            rf'\b{operation}\s+(?:INTO\s+|FROM\s+)?(?:ONLY\s+)?"?(?:\w+"?\."?)?([a-z_]\w*)',
            text,
            re.IGNORECASE,
        )
        if written is not None:
            return written[1]
    found = _TABLE.search(text)
    return found[1] if found is not None else ""


def error_type(ran: Ran) -> str | None:
    """What a statement failed with: the SQLSTATE where PostgreSQL said it, else the kind of error; None if it did not."""
    if ran.error is None:
        return None
    state = getattr(ran.error, "sqlstate", None)
    return state if isinstance(state, str) else type(ran.error).__name__
