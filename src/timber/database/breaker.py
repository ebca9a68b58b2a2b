"""The circuit breaker of one database: while it is down nobody waits to hear so, and one caller at a time asks again."""

from __future__ import annotations

import logging
import random
import time

from timber.errors import UnavailableError

logger: logging.Logger = logging.getLogger(__name__)


class Breaker:
    """Opened when so many attempts in a row did not reach the server, closed by one that does.

    While it is open every attempt is refused at once, but for one whenever a wait is over: it tries for all. The waits
    double from ``wait`` to ``wait_max`` seconds, with jitter, so that many processes do not ask in step.

    Args:
        target: ``database on host:port``, named to those who are refused.
        failures: how many attempts in a row; 0 never opens it.
    """

    def __init__(self, target: str, *, failures: int, wait: float, wait_max: float) -> None:
        self._target = target
        self._limit = failures
        self._first_wait = wait
        self._wait_max = wait_max
        self._wait = wait
        self._failed = 0
        self._probing = False
        self._again_at = 0.0
        self.is_open: bool = False
        self.opened: int = 0
        """How often it has opened."""
        self.refused: int = 0
        """How many attempts it has refused."""

    def admit(self) -> None:
        """Let an attempt begin, which ends with :meth:`succeeded`, :meth:`failed` or :meth:`given_up`.

        Raises:
            UnavailableError: it is open, and somebody else asks or it is too early.
        """
        if self.is_open:
            self.refuse_if_open()
            self._probing = True

    def refuse_if_open(self) -> None:
        """Refuse whoever would have to wait for a connection that is not to be had.

        Raises:
            UnavailableError: it is open, and somebody else asks or it is too early.
        """
        if not self.is_open:
            return
        rest = self._again_at - time.monotonic()
        if self._probing or rest > 0:
            self.refused += 1
            raise UnavailableError(
                f"{self._target} is down: {self._failed} attempts in a row did not reach it. It is asked again about every "
                f"{self._wait:.1g} s; try again later."
            )

    def succeeded(self) -> None:
        """The server has answered."""
        self._failed = 0
        self._probing = False
        if self.is_open:
            self.is_open = False
            logger.info("%s is back.", self._target)

    def failed(self) -> None:
        """The server was not reached, or did not answer."""
        self._failed += 1
        if self.is_open:
            self._wait = min(self._wait * 2, self._wait_max)
        elif self._limit and self._failed >= self._limit:
            self.is_open = True
            self.opened += 1
            self._wait = self._first_wait
            logger.warning(
                "%s is down: %d attempts in a row did not reach it.", self._target, self._failed
            )
        self.given_up()

    def given_up(self) -> None:
        """An attempt ended before it was known whether the server answers."""
        self._probing = False
        self._again_at = time.monotonic() + self._wait * random.uniform(0.5, 1.0)  # noqa: S311  # no secret
