"""A copy of everything that there is of a person, as lines of JSON: a header, a line a row, and a manifest at the end.

A file without its manifest is one that was cut off.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import orjson
import sqlalchemy as sa

from timber.errors import UsageError, ValidationError
from timber.privacy.asking import ask
from timber.privacy.holdings import Subject

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from timber.privacy.holdings import Holding
    from timber.privacy.means import Means
    from timber.privacy.people import Person
    from timber.privacy.planning import Link

FORMAT: Final = 1
"""The version of the format, in the header and in the manifest."""
_BLOCK: Final = 256 * 1024  # bytes written to a file at once


@dataclass(slots=True)
class _Part:
    """The lines of one model or association table: how many, and their digest."""

    rows: int = 0
    digest: Any = field(default_factory=hashlib.sha256)

    def add(self, line: bytes) -> None:
        self.rows += 1
        self.digest.update(line)

    def told(self) -> dict[str, Any]:
        return {"rows": self.rows, "sha256": self.digest.hexdigest()}


class Exporting:
    """Writes what there is of persons, as their repositories read it."""

    def __init__(self, means: Means) -> None:
        self._db = means.db
        self._models = means.models
        self._repositories = means.repositories

    async def lines(self, person: Person, *, batch: int) -> AsyncGenerator[bytes]:
        """The lines of an export, each with its line break.

        Rows come by model and key, in batches of statements of their own, so that no transaction and no connection waits
        for whoever reads the lines.
        """
        made_at = self._db.clock().isoformat()
        whole = hashlib.sha256()
        header = {"timber_export": FORMAT, "person": person.text, "made_at": made_at}
        line = orjson.dumps(header) + b"\n"
        whole.update(line)
        yield line
        parts: dict[str, dict[str, Any]] = {}
        subject = Subject(person)
        for name in sorted(self._models.holdings):
            holding = self._models.holdings[name]
            for title, rows in (
                (f"model:{name}", self._rows(holding, subject, batch)),
                *(
                    (f"links:{link.name}.{link.column}", self._links(link, subject, batch))
                    for link in self._models.links[name]
                ),
            ):
                part = _Part()
                kind, _, word = title.partition(":")
                prefix = b'{"%s":"%s","row":' % (kind.encode(), word.encode())
                async with aclosing(rows):
                    async for row in rows:
                        line = prefix + row + b"}\n"
                        part.add(line)
                        whole.update(line)
                        yield line
                parts[word] = part.told()
        manifest = {
            "format": FORMAT,
            "person": person.text,
            "made_at": made_at,
            "parts": parts,
            "rows": sum(part["rows"] for part in parts.values()),
            "sha256": whole.hexdigest(),
        }
        yield orjson.dumps({"manifest": manifest}) + b"\n"

    async def _rows(self, holding: Holding, subject: Subject, batch: int) -> AsyncGenerator[bytes]:
        repository = self._repositories(holding.name)
        key = holding.table.c[holding.key]
        statement = sa.select(key).where(holding.of(subject)).order_by(key).limit(batch)
        last: Any = None
        while True:
            behind = statement
            if last is not None:
                behind = statement.where(key > sa.literal(last, key.type))
            keys = [row[0] for row in await ask(self._db, behind, f"export {holding.name}")]
            for row in await repository.get_many(keys, include_deleted=True, fresh=True):
                yield row.model_dump_json().encode()
            if len(keys) < batch:
                return
            last = keys[-1]

    async def _links(self, link: Link, subject: Subject, batch: int) -> AsyncGenerator[bytes]:
        holding = self._models.holdings[link.target]
        about = sa.select(holding.table.c[link.target_column]).where(holding.of(subject))
        columns = list(link.table.columns)
        place = sa.tuple_(*columns)
        statement = (
            sa.select(*columns)
            .where(link.table.c[link.column].in_(about))
            .order_by(*columns)
            .limit(batch)
        )
        last: Any = None
        while True:
            behind = statement
            if last is not None:
                values = (
                    sa.literal(value, column.type)
                    for value, column in zip(last, columns, strict=True)
                )
                behind = statement.where(place > sa.tuple_(*values))
            rows = await ask(self._db, behind, f"export {link.name}")
            for row in rows:
                yield orjson.dumps(dict(row.items()), default=str)
            if len(rows) < batch:
                return
            last = tuple(rows[-1])


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an export holds.

    Attributes:
        parts: rows and SHA-256 digest of the lines of each model, and of each association table with the column that
            leads to the person.
        sha256: the digest of all lines before the manifest.
    """

    format: int
    person: str
    made_at: str
    rows: int
    sha256: str
    parts: dict[str, dict[str, Any]]


async def write_export(lines: AsyncIterator[bytes], path: Path) -> Manifest:
    """Write an export to a file that only its owner can read; it is there when it is complete.

    Raises:
        UsageError: the file cannot be written.
    """
    unfinished = path.with_name(f".{path.name}.part")
    try:
        file = await asyncio.to_thread(_open_anew, unfinished)
    except OSError as error:
        raise UsageError(f"Cannot write {path}: {error.strerror}.") from error
    try:
        last = b""
        with file:
            block = bytearray()
            async for last in lines:  # the last one is the manifest
                block += last
                if len(block) >= _BLOCK:
                    await asyncio.to_thread(file.write, bytes(block))
                    block.clear()
            await asyncio.to_thread(_end, file, bytes(block))
        await asyncio.to_thread(unfinished.replace, path)
    except OSError as error:
        raise UsageError(f"Cannot write {path}: {error.strerror}.") from error
    finally:
        with suppress(FileNotFoundError):
            unfinished.unlink()
    return Manifest(**orjson.loads(last)["manifest"])


def _open_anew(path: Path) -> BinaryIO:
    path.unlink(missing_ok=True)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _end(file: BinaryIO, block: bytes) -> None:
    file.write(block)
    file.flush()
    os.fsync(file.fileno())


def check_export(path: Path) -> Manifest:
    """Read an export and hold it against its manifest.

    Raises:
        ValidationError: a line is missing, was changed, or does not belong there.
    """
    whole = hashlib.sha256()
    parts: dict[str, _Part] = {}
    manifest: dict[str, Any] | None = None
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if manifest is not None:
                raise _damaged(number, "stands behind the manifest")
            content = _parsed(line, number)
            if "manifest" in content:
                manifest = content["manifest"]
                continue
            whole.update(line)
            name = content.get("model", content.get("links"))
            if name is not None:
                parts.setdefault(name, _Part()).add(line)
    if manifest is None:
        raise ValidationError.of("export", "has no manifest: it was cut off")
    found = {name: part.told() for name, part in parts.items()}
    told = {name: part for name, part in manifest["parts"].items() if part["rows"]}
    if found != told or whole.hexdigest() != manifest["sha256"]:
        wrong = sorted({name for name in {*found, *told} if found.get(name) != told.get(name)})
        which = f" of {', '.join(wrong)}" if wrong else ""
        raise ValidationError.of("export", f"the lines{which} are not those of the manifest")
    return Manifest(**manifest)


def _parsed(line: bytes, number: int) -> dict[str, Any]:
    try:
        content = orjson.loads(line)
    except orjson.JSONDecodeError:
        raise _damaged(number, "is not JSON") from None
    if not isinstance(content, dict):
        raise _damaged(number, "is not an object")
    return content


def _damaged(number: int, problem: str) -> ValidationError:
    return ValidationError.of("export", f"line {number} {problem}")
