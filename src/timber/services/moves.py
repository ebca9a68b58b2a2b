"""Which status may follow which."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from timber.errors import ConfigurationError, ValidationError

DELETED = "deleted"


class Moves:
    """The moves between the statuses of a row that begins in one of them; ``deleted`` is reached from all of them.

    Args:
        allowed: for each status those that may follow it.
        begin: the status of a new row.

    Raises:
        ConfigurationError: no move leads on from ``begin``, or ``deleted`` is among them.
    """

    def __init__(self, allowed: Mapping[str, Iterable[str]], *, begin: str) -> None:
        self._allowed = {status: tuple(after) for status, after in allowed.items()}
        self.begin = begin
        named = [*self._allowed, *(to for after in self._allowed.values() for to in after)]
        self.statuses: tuple[str, ...] = tuple(dict.fromkeys((begin, *named)))
        if begin not in self._allowed:
            raise ConfigurationError(
                f"No move leads on from {begin!r}, the status at the beginning."
            )
        if DELETED in self.statuses:
            raise ConfigurationError(
                f"{DELETED!r} cannot be among the moves: every status leads there, and restoring leads back."
            )

    def check_known(self, status: object) -> str:
        """The status itself, if a move leads to it or it is the first.

        Raises:
            ValidationError: there is no such status.
        """
        if not isinstance(status, str) or status not in self.statuses:
            raise ValidationError.of("status", f"is not one of {', '.join(self.statuses)}")
        return status

    def check(self, before: str, after: str) -> None:
        """Hold a move against the allowed ones.

        Raises:
            ValidationError: it is not one of them.
        """
        allowed = self._allowed.get(before, ())
        if after in allowed:
            return
        if before == after:
            raise ValidationError.of("status", f"is {after} already")
        where = f"only to {', '.join(allowed)}" if allowed else "to nothing else"
        raise ValidationError.of("status", f"cannot move from {before} to {after}: {where}")
