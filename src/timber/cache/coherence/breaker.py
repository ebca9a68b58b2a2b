"""The circuit breaker: a Redis that does not answer costs one deadline, then nothing until it answers a probe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

State = Literal["closed", "open"]


class Breaker:
    """Opened by the first failure, closed only by a probe in the background: no caller ever tries on its own account."""

    def __init__(self) -> None:
        self.state: State = "closed"
        self.opened: int = 0
        """How often it has opened."""
        self.on_open: list[Callable[[], object]] = []
        self.on_close: list[Callable[[], object]] = []

    @property
    def is_open(self) -> bool:
        return self.state == "open"

    def open(self) -> None:
        """Stop asking."""
        if self.state == "closed":
            self.state = "open"
            self.opened += 1
            for callback in self.on_open:
                callback()

    def close(self) -> None:
        """Redis has answered: ask again."""
        if self.state == "open":
            self.state = "closed"
            for callback in self.on_close:
                callback()
