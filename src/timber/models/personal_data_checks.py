"""What a model says about personal data, held against its columns and the other models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from timber.models.column_types import TEXT_KINDS, nearest
from timber.models.personal_data import person_column, unfit_columns
from timber.models.stored import is_encrypted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from timber.errors import ConfigurationError
    from timber.models.assemble import Assembled
    from timber.models.config import ModelConfig
    from timber.models.feature_configs import PersonalDataConfig
    from timber.models.relations import ModelNames

_PERSON_KINDS = TEXT_KINDS | {"UUID", "Integer", "BigInteger", "SmallInteger"}


def check_personal_data(
    model: Assembled, config: ModelConfig, names: ModelNames
) -> list[ConfigurationError]:
    """Everything in a model's `personal_data` that cannot be meant, or cannot be done when a person is erased."""
    personal = config.features.personal_data
    if personal is None:
        return []
    checks = _Checks(model, config, names, personal)
    checks.columns()
    checks.whose()
    checks.what_happens()
    return checks.errors


class _Checks:
    def __init__(
        self,
        model: Assembled,
        config: ModelConfig,
        names: ModelNames,
        personal: PersonalDataConfig,
    ) -> None:
        self.errors: list[ConfigurationError] = []
        self._model = model
        self._config = config
        self._names = names
        self._personal = personal

    def _wrong(self, message: str, *below: str | int) -> None:
        place = self._model.place("features", "personal_data")
        self.errors.append(place.error(message, *below))

    def _known(self, name: str, *below: str | int) -> bool:
        if name in self._model.columns:
            return True
        if name not in self._model.gaps:
            hint = nearest(name, self._model.columns)
            self._wrong(f"{self._config.name} has no column {name!r}{hint}", *below)
        return False

    def _all_known(self, key: str, names: Iterable[str]) -> bool:
        known = [self._known(name, key, at) for at, name in enumerate(names)]
        return all(known)

    def columns(self) -> None:
        """The columns that are named are there, and can hold what they are named for."""
        personal, config = self._personal, self._config
        if personal.person is not None and self._known(personal.person, "person"):
            self._holds_a_person(personal.person, "person")
        for position, name in enumerate(personal.mentions):
            if self._known(name, "mentions", position):
                self._holds_a_person(name, "mentions", position)
                column = config.column(name)
                if not column.nullable or column.generated is not None:
                    message = f"{name} cannot be emptied: it is to be nullable, and not generated"
                    self._wrong(message, "mentions", position)
                elif is_encrypted(config, name):
                    message = f"{name} is encrypted: nobody could be found by it"
                    self._wrong(message, "mentions", position)
        expires = personal.expires
        if expires is not None and self._known(expires, "expires"):
            kind = config.column(expires).type
            if kind.kind != "DateTime" or is_encrypted(config, expires):
                self._wrong(f"{expires} is {kind}: rows go by a DateTime", "expires")

    def _holds_a_person(self, name: str, *below: str | int) -> None:
        column = self._config.column(name)
        if column.type.kind not in _PERSON_KINDS:
            message = f"{name} is {column.type}: a person's id is text, a UUID or an integer"
            self._wrong(message, *below)

    def whose(self) -> None:
        """A person is named, or a way to one that does not lead back to where it began."""
        personal, config = self._personal, self._config
        if person_column(config) is None and personal.through is None:
            self._wrong("whose data is it? declare person, through, or an owner")
        through = personal.through
        if through is None or not self._known(through, "through"):
            return
        reference = config.column(through).foreign_key
        if reference is None:
            self._wrong(f"{through} refers to no other model", "through")
            return
        seen = [config.name]
        target = self._names.find(reference.target)
        while target is not None and target.name not in seen:
            seen.append(target.name)
            further = target.features.personal_data
            if further is None:
                if len(seen) == 2:
                    message = f"{through} leads to {target.name}, which does not say whose its rows are: declare its personal_data"
                    self._wrong(message, "through")
                return
            column = further.through
            if column is None or column not in target.column_names:
                return
            onwards = target.column(column).foreign_key
            target = None if onwards is None else self._names.find(onwards.target)
        if target is not None and target is config:
            circle = " -> ".join([*seen, target.name])
            self._wrong(f"{through} leads in a circle: {circle}", "through")

    def what_happens(self) -> None:
        """What an erasure is to do can be done with these columns."""
        personal, config = self._personal, self._config
        encryption = config.features.encryption
        if personal.on_erasure == "destroy_key" and not (encryption and encryption.per_person):
            message = "destroy_key needs encryption with `per_person: true`"
            self._wrong(message, "on_erasure")
        if personal.retention_days is not None and not config.soft_delete:
            message = "retention_days is about soft-deleted rows: add the mixin SoftDelete"
            self._wrong(message, "retention_days")
        if not self._all_known("columns", personal.columns):
            return
        for column, why in unfit_columns(config):
            at = ("columns", personal.columns.index(column)) if column in personal.columns else ()
            self._wrong(f"{personal.on_erasure} cannot be done: {column} {why}", *at)
        self._can_outlive()

    def _can_outlive(self) -> None:
        """A row that stays cannot be found, and kept, by a reference that may not be NULL to a row that goes."""
        personal, config = self._personal, self._config
        through = personal.through
        if personal.on_erasure == "delete" or through is None or through not in config.column_names:
            return
        column = config.column(through)
        reference = column.foreign_key
        target = self._names.find(reference.target) if reference is not None else None
        further = target.features.personal_data if target is not None else None
        goes = further is not None and further.on_erasure == "delete"
        if target is not None and goes and not column.nullable:
            self._wrong(
                f"{personal.on_erasure} cannot be done: {through} may not be NULL, and the {target.name} it refers to is "
                "deleted: make it nullable",
                "on_erasure",
            )
