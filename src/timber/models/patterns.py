"""Patterns that no text can hold up: matched by an automaton, in a time that grows with the text and nothing else.

The engine is that of pydantic (Rust's ``regex``): Python's syntax without look-around and backreferences, which is what
makes a text of a few dozen characters take hours elsewhere.
"""

from __future__ import annotations

import re
from typing import Final

from pydantic_core import SchemaError, SchemaValidator, core_schema

WORK_LIMIT: Final = 2_000_000
"""Characters of a text times positions of a pattern that are tried: at most about a tenth of a second."""
POSITIONS_LIMIT: Final = 1000
"""How many characters the longest way through a pattern's repetitions may spell out."""

_TOKEN = re.compile(
    r"""
    (?P<atom> \\[pPx]\{[^}]*\} | \\. | \[\^?\]?(?:\\.|\[:\^?\w+:\]|[^\]\\])*\] )
    | \{\s*(?P<least>\d+)\s*,?\s*(?P<most>\d*)\s*\}
    | (?P<open> \((?:\?P?<\w+>|\?[a-zA-Z-]*:)? )
    | (?P<close> \) )
    | (?P<other> . )
    """,
    re.VERBOSE | re.DOTALL,
)


class Pattern:
    """A regular expression that the whole of a text must match.

    Attributes:
        longest: the number of characters of the longest text that is tried.

    Raises:
        ValueError: it is not one, uses what the engine does not have, or counts too far.
    """

    __slots__ = ("_validator", "longest", "text")

    def __init__(self, text: str) -> None:
        self.text: str = text
        _compile(text)  # by itself first: parentheses of ours must not make sense of it
        positions = _positions(text)
        if positions > POSITIONS_LIMIT:
            raise ValueError(
                f"its repetitions count to {positions}, and {POSITIONS_LIMIT} is the most; say lengths with min_length and "
                "max_length"
            )
        self._validator = _compile(rf"\A(?:{text})\z")
        self.longest: int = WORK_LIMIT // positions

    def matches(self, text: str) -> bool:
        """Whether it matches the whole of a text that is not longer than the longest."""
        return self._validator.isinstance_python(text)


def _compile(text: str) -> SchemaValidator:
    try:
        return SchemaValidator(core_schema.str_schema(pattern=text, regex_engine="rust-regex"))
    except SchemaError as error:
        problem = str(error).rpartition("\n")[2].strip()
        problem = problem.removeprefix("SchemaError: ").removeprefix("error: ")
        raise ValueError(problem.rstrip(".")) from None


def _positions(text: str) -> int:
    """The characters of the longest way through a pattern, each repetition spelled out; at least 1."""
    sizes, last = [0], 0
    for token in _TOKEN.finditer(text):
        if token["open"]:
            sizes.append(0)
            last = 0
        elif token["close"] and len(sizes) > 1:
            last = sizes.pop()
            sizes[-1] += last
        elif token["least"]:
            times = int(token["most"] or token["least"])
            sizes[-1] += last * (max(times, 1) - 1)
            last *= max(times, 1)
        elif token["atom"] or token["other"] not in ("*", "+", "?", "|"):
            last = 1
            sizes[-1] += 1
    return max(1, sum(sizes))
