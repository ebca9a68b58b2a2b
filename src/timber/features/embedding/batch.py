"""Some rows of one model on their way to vectors: claimed, cut, embedded, stored."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from timber.errors import ServiceError, ValidationError
from timber.features.embedding.chunking import chunks
from timber.features.embedding.embedder import NoAnswerError
from timber.features.embedding.jobs import Made, Work

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from timber.features.embedding.embedding import Embedding

logger: logging.Logger = logging.getLogger(__name__)

_ROWS: Final = 64
_CHARACTERS: Final = 1_000_000
"""How much text is held at once; a single row may have more."""
_LOCKED_TRIES: Final = 3
_LOCKED_WAIT: Final = 0.05


class Batch:
    """Up to 64 rows, under one token.

    Texts are held up to a million characters at once, and vectors up to one call of the embedder: those of a long row
    are stored as they come, so that who takes over goes on from there.
    """

    def __init__(self, embedding: Embedding) -> None:
        self._embedding = embedding
        self._jobs = embedding.jobs
        self._options = embedding.options
        self._token = uuid4()
        self._left: set[Any] = set()
        """Rows claimed of which nothing has been said yet."""

    async def work(self) -> int:
        """Embed what can be claimed; how many rows were dealt with."""
        began = time.monotonic()
        claimed = await self._jobs.claim(self._token, _ROWS)
        self._left = set(claimed)
        try:
            for group in await self._groups(claimed):
                if time.monotonic() - began > self._options.lease / 2:
                    break  # the rest would be anybody's before its turn comes
                if not await self._embed(group):
                    break
        finally:
            left = len(self._left)
            await self._give_back(self._left)
        return len(claimed) - left

    async def _groups(self, claimed: dict[Any, int]) -> list[list[Any]]:
        """The rows that go together, as much text as is held at once; those that cannot go are given up."""
        attempts = self._options.attempts
        worn = [key for key, number in claimed.items() if number > attempts]
        reason = f"{attempts} workers ended while they were at this row"
        await self._fail(dict.fromkeys(worn, reason), final=True)
        sizes = await self._jobs.measure(self._left)
        self._left &= sizes.keys()  # the others have been deleted, and their jobs with them
        longest = self._options.longest_text
        long = {
            key: f"its text has {size} characters, and embedding_longest_text is {longest}"
            for key, size in sizes.items()
            if size > longest
        }
        await self._fail(long, final=True)
        # A row that has failed before goes by itself, so that others do not fail with it.
        first = [key for key in sizes if key in self._left and claimed[key] == 1]
        again = [key for key in sizes if key in self._left and claimed[key] > 1]
        return [*_filled(first, sizes), *([key] for key in again)]

    async def _embed(self, keys: list[Any]) -> bool:
        """Embed some rows together; whether the embedder answers, so that it makes sense to go on with others."""
        works = await self._cut(keys)
        await self._store([], [work for work in works if not work.missing])
        pieces = self._pieces(works)
        while asked := list(islice(pieces, self._options.batch)):
            try:
                vectors = await self._embedding.embedder.embed(
                    [work.chunks[number].of(work.text) for work, number in asked]
                )
            except ServiceError as error:
                await self._fail(dict.fromkeys((work.key for work, _ in asked), error.message))
                if isinstance(error, NoAnswerError):
                    return False
                continue
            made = [
                Made(work, number, vector)
                for (work, number), vector in zip(asked, vectors, strict=True)
            ]
            for work, number in asked:
                work.missing.discard(work.chunks[number].digest)
            finished = {id(work): work for work, _ in asked if not work.missing}
            await self._store(made, list(finished.values()))
        return True

    async def _cut(self, keys: list[Any]) -> list[Work]:
        """The texts of these rows in pieces, and which of the pieces have no vector yet."""
        texts = await self._jobs.read(keys, self._token)
        self._left -= set(keys) - texts.keys()
        stored = await self._jobs.stored(texts)
        works = []
        for key, (text, digest) in texts.items():
            cut = chunks(
                text, size=self._embedding.chunk_size, overlap=self._embedding.chunk_overlap
            )
            works.append(Work.of(key, text, digest, cut, stored.get(key, {})))
        return works

    def _pieces(self, works: Iterable[Work]) -> Iterator[tuple[Work, int]]:
        """The pieces without a vector, of rows that nothing has been said of."""
        for work in works:
            for number, chunk in enumerate(work.chunks):
                if work.key not in self._left:
                    break
                if chunk.digest in work.missing:
                    yield work, number

    async def _store(self, made: Sequence[Made], finished: Sequence[Work]) -> None:
        """Store vectors and end jobs. Rows that the fence keeps out go back: their text is another by now."""
        wanted = {work.key for work in (*finished, *(one.work for one in made))} & self._left
        if not wanted:
            return
        outside = set(wanted)
        try:
            for attempt in range(_LOCKED_TRIES):
                if attempt:
                    await asyncio.sleep(_LOCKED_WAIT)
                outside -= await self._jobs.store(
                    self._token,
                    [one for one in made if one.work.key in outside],
                    [work for work in finished if work.key in outside],
                )
                if not outside:
                    break
        except ValidationError as error:
            await self._fail(dict.fromkeys(wanted, error.message))
            return
        await self._give_back(outside)
        self._left -= {work.key for work in finished} | outside

    async def _fail(self, reasons: dict[Any, str], *, final: bool = False) -> None:
        """Put rows back for a later attempt, or give them up."""
        if not reasons:
            return
        self._left -= reasons.keys()
        given_up = await self._jobs.fail(self._token, reasons, final=final)
        for reason, number in Counter(reasons.values()).items():
            dead = sum(given_up.get(key, False) for key, why in reasons.items() if why == reason)
            logger.warning(
                "%s: %d rows could not be embedded, %d of them given up: %s",
                self._embedding.name,
                number,
                dead,
                reason,
            )

    async def _give_back(self, keys: set[Any]) -> None:
        """Let others have rows that were not dealt with; it counts as no attempt."""
        try:
            await self._jobs.release(self._token, keys)
        except ServiceError as error:
            # The lease ends by itself.
            logger.warning("%s: %d rows stay claimed: %s", self._embedding.name, len(keys), error)


def _filled(keys: Iterable[Any], sizes: dict[Any, int]) -> Iterator[list[Any]]:
    """Rows in groups of as much text as is held at once; one row at least."""
    group: list[Any] = []
    room = _CHARACTERS
    for key in keys:
        if group and sizes[key] > room:
            yield group
            group, room = [], _CHARACTERS
        group.append(key)
        room -= sizes[key]
    if group:
        yield group
