"""Where else than in the rows of models something of a person may be kept, as far as an erasure knows such places."""

from __future__ import annotations

from typing import Literal, Protocol


class PersonKeys(Protocol):
    """The data keys that persons have of their own."""

    async def destroy(self, person: str) -> object:
        """Destroy the key of a person for good, so that nothing that was encrypted with it can be read again."""

    async def state(self, person: str) -> Literal["none", "kept", "destroyed"]:
        """What there is of a person's key."""
        ...


class Place(Protocol):
    """A place of the library's own, beside the models' tables.

    Attributes:
        name: what a report calls it.
    """

    @property
    def name(self) -> str: ...

    async def erase(self, person: str) -> int:
        """Take out what is kept of a person; how much that was."""
        ...

    async def count(self, person: str) -> int:
        """How much is kept of a person.

        Raises:
            ServiceError: it cannot look.
        """
        ...
