"""What can be known before an erasure about whether it can be done, so that none stops half-way for it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING
from uuid import uuid4

import sqlalchemy as sa

from timber.errors import ConfigurationError, ConflictError, ValidationError
from timber.privacy.asking import ask
from timber.privacy.batches import anonymise
from timber.privacy.holdings import Subject

if TYPE_CHECKING:
    from timber.privacy.holdings import Holding
    from timber.privacy.means import Means
    from timber.privacy.planning import Reference


async def check_possible(means: Means, subject: Subject) -> None:
    """Refuse an erasure that could not come to its end.

    Raises:
        ConfigurationError: a model does not say what is to happen, or its rows cannot be anonymised.
        ConflictError: rows of somebody else would be lost with rows of this person.
    """
    means.models.check_declared()
    if means.models.with_keys and means.keys is None:
        raise ConfigurationError(
            f"Rows of {', '.join(means.models.with_keys)} are encrypted with a key for each person, and it is not said "
            "where these keys are: set person_keys, so that an erasure can destroy them."
        )
    if means.models.audited and means.audit is None:
        raise ConfigurationError(
            f"Rows of {', '.join(means.models.audited)} are audited, and there is no audit to cut the person out of: set "
            "audit_key."
        )
    for holding in means.models.order:
        if holding.stays:
            await _rehearse(means, subject, holding)
            continue
        for reference in means.models.blocking(holding.name):
            if reference.model != holding.name:
                await _check_nobody_else(means, subject, reference)


async def _check_nobody_else(means: Means, subject: Subject, reference: Reference) -> None:
    """No row that an erasure does not delete depends on one that it does."""
    holdings = means.models.holdings
    target, referring = holdings[reference.target], holdings[reference.model]
    rows = referring.table.alias("referring")
    about = sa.select(target.table.c[reference.target_column]).where(target.of(subject))
    depends: sa.ColumnElement[bool] = rows.c[reference.column].in_(about.correlate(None))
    if not referring.stays:
        depends = sa.and_(
            depends, sa.not_(sa.func.coalesce(referring.of(subject, rows), sa.false()))
        )
    statement = sa.select(sa.func.count()).select_from(rows).where(depends)
    number = (await ask(means.db, statement, f"count {reference.model}"))[0][0]
    if number:
        raise ConflictError(
            f"{number} rows of {reference.model} that are to stay refer to this person's {reference.target} by "
            f"{reference.column}, which may not be NULL: they would be lost. Delete or move them first, make the column "
            f"nullable, or declare `on_erasure: anonymise` for {reference.target}.",
            table=referring.table.name,
        )


async def _rehearse(means: Means, subject: Subject, holding: Holding) -> None:
    """Anonymise one row and undo it: checks and rules of the model may forbid empty values."""
    key = holding.table.c[holding.key]
    picked = sa.select(key).where(holding.unfinished(subject)).limit(1)
    with suppress(_Undo):
        async with means.db.unit_of_work():
            keys = [row[0] for row in await ask(means.db, picked, f"pick {holding.name}")]
            if keys:
                standing = Subject(subject.person, uuid4())
                try:
                    await anonymise(means, holding, standing, keys)
                except (ConflictError, ValidationError) as error:
                    raise ConfigurationError(
                        f"{holding.name} cannot be anonymised, as its own rules forbid what its columns would hold: "
                        f"{error.message}"
                    ) from error
            raise _Undo


class _Undo(Exception):  # noqa: N818  # a signal, not an error
    pass
