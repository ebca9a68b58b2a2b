"""How long a request may take: by its own header, within what the service allows."""

from __future__ import annotations

import math
from dataclasses import dataclass

from timber.errors import ConfigurationError, ValidationError


@dataclass(frozen=True, slots=True)
class Deadlines:
    """The time that a request has until its answer begins; then it is 504, and what it was doing is rolled back.

    Args:
        header: where a client says how many seconds it will wait; None listens to none.
        default: seconds for those who do not say; None sets no limit.
        longest: seconds that nobody gets more than.

    Raises:
        ConfigurationError: a number is not above 0.
    """

    header: str | None = "X-Request-Timeout"
    default: float | None = 30.0
    longest: float = 60.0

    def __post_init__(self) -> None:
        for name, seconds in (("default", self.default), ("longest", self.longest)):
            if seconds is not None and not 0 < seconds < math.inf:
                raise ConfigurationError(f"Deadlines({name}=...) takes seconds above 0.")

    def seconds(self, asked: str | None) -> float | None:
        """The seconds for a request whose header says ``asked``.

        Raises:
            ValidationError: it does not say a number of seconds.
        """
        if asked is None:
            return self.default and min(self.default, self.longest)
        try:
            seconds = float(asked)
        except ValueError:
            seconds = math.nan
        if not seconds > 0:
            raise ValidationError.of(self.header or "timeout", "takes a number of seconds above 0")
        return min(seconds, self.longest)
