"""What a verification of the audit takes and gives."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import pydantic

from timber.dto import DTO
from timber.errors import ValidationError

Kind = Literal["changed", "removed", "inserted", "forged", "chain", "cut_off", "unknown_key"]


class Anchor(DTO):
    """The end of the chain as it was at some time, to be kept where the database's owner cannot change it."""

    number: int
    """The number of the seal."""
    seal: str
    """The seal, in hexadecimal."""
    sealed_at: datetime
    """When it was made."""

    @classmethod
    def read(cls, text: str | bytes) -> Anchor:
        """An anchor out of the JSON that ``timber audit anchor`` writes.

        Raises:
            ValidationError: it is none.
        """
        try:
            return cls.model_validate_json(text)
        except pydantic.ValidationError:
            raise ValidationError.of("anchor", "is not what `timber audit anchor` writes") from None


class AuditProblem(DTO):
    """One thing that is not as it was when it was written or sealed."""

    kind: Kind
    message: str
    seal: int | None = None
    """The number of the seal that it was found under."""


class AuditReport(DTO):
    """What a verification has found."""

    problems: tuple[AuditProblem, ...]
    """The first hundred things that are wrong; empty if all is well."""
    problem_count: int
    """How many are wrong in all."""
    seals: int
    """Seals that were checked."""
    sealed_rows: int
    """Rows under them."""
    unsealed_rows: int
    """Rows that no seal covers yet: all that is proved of them is that a holder of the key wrote their content."""
    unsealed_seconds: float
    """The age of the oldest of them."""
    without_salt: int
    """Rows that an erasure has taken the salt from."""
    head: Anchor | None
    """The last seal."""

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return self.problem_count == 0
