"""Texts of notifications with gaps, filled with values that can do no harm in a page."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from timber.errors import ConfigurationError, FieldProblem, ValidationError

Priority = Literal["low", "normal", "high"]

_GAP: Final = re.compile(r"\{([^{}]*)\}|[{}]")


@dataclass(frozen=True, slots=True)
class Template:
    """A title and a content with gaps such as ``{symbol}``; the text around them may be HTML, what fills them is escaped.

    Raises:
        ConfigurationError: a gap is no plain name.
    """

    notification_type: str
    title: str
    content: str
    priority: Priority = "normal"

    def __post_init__(self) -> None:
        for text in (self.title, self.content):
            for gap in _GAP.finditer(text):
                if not (gap[1] or "").isidentifier():
                    raise ConfigurationError(
                        f"{gap[0]!r} in a template is no gap: a gap is a name in braces, like {{symbol}}."
                    )

    @property
    def keys(self) -> tuple[str, ...]:
        """The names that a context must have a value for."""
        gaps = [gap[1] for text in (self.title, self.content) for gap in _GAP.finditer(text)]
        return tuple(dict.fromkeys(gaps))

    def render(self, context: Mapping[str, Any]) -> tuple[str, str]:
        """The title and the content.

        Raises:
            ValidationError: naming each key that the context has no value for.
        """
        if not isinstance(context, Mapping):
            raise ValidationError.of("context", "is to be a mapping of names to values")
        missing = [key for key in self.keys if context.get(key) is None]
        if missing:
            raise ValidationError(
                errors=[FieldProblem(f"context.{key}", "is missing") for key in missing]
            )
        # What a value brings along is not looked through for gaps again.
        filled = {key: html.escape(str(context[key])) for key in self.keys}
        return _fill(self.title, filled), _fill(self.content, filled)


def _fill(text: str, values: Mapping[str, str]) -> str:
    return _GAP.sub(lambda gap: values[gap[1]], text)


BUILT_IN: Final[Mapping[str, Template]] = {
    "research_complete": Template(
        "research_complete",
        "Research on {symbol} is complete",
        "The {research_type} research on {symbol} is ready to read.",
    ),
    "simulation_complete": Template(
        "simulation_complete",
        "Simulation {name} is complete",
        "The simulation {name} has ended: {result}",
    ),
    "tracker_alert": Template(
        "tracker_alert",
        "Alert: {symbol}",
        "The tracker of {symbol} has triggered: {reason}",
        priority="high",
    ),
}
