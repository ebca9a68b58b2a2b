"""Data keys of persons in use: made when they are needed, unwrapped for a short time, destroyed for good."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, Literal

from timber.errors import DecryptionError, KeyDestroyedError
from timber.features.encryption.cipher import Cipher, WrongKeyError
from timber.features.encryption.envelopes import NONCE
from timber.features.encryption.keys import new_key
from timber.features.encryption.master_keys import Wrapping
from timber.features.encryption.person_records import NO_KEY, PersonRecord

if TYPE_CHECKING:
    from collections.abc import Iterable

    from timber.features.encryption.master_keys import MasterKeys
    from timber.features.encryption.person_records import PersonKeyStore

PersonState = Literal["none", "kept", "destroyed"]
"""What there is of a person's key."""

_LIMIT: Final = 10_000
_AT_ONCE: Final = 6  # keys made side by side; each waits for a disk, or for another database


@dataclass(frozen=True, slots=True)
class PersonKey:
    """A data key that can be used; one without a cipher was destroyed."""

    key_id: str
    cipher: Cipher | None


class PersonKeys:
    """The data keys of persons.

    Args:
        store: keeps them, wrapped.
        keys: the master keys that wrap them.
        seconds: how long an unwrapped key may stay in memory.
        limit: how many unwrapped keys may be in memory.
    """

    def __init__(
        self, store: PersonKeyStore, keys: MasterKeys, seconds: float, *, limit: int = _LIMIT
    ) -> None:
        self.store = store
        self._wrapping = Wrapping(keys)
        self._seconds = seconds
        self._limit = limit
        # By the time they came, which is the order in which they go.
        self._unwrapped: OrderedDict[str, tuple[float, PersonKey]] = OrderedDict()
        self._timer: tuple[asyncio.AbstractEventLoop, asyncio.TimerHandle] | None = None

    async def find(self, persons: Iterable[Any]) -> dict[Any, PersonKey]:
        """The keys of these persons; who never had one is left out."""
        wanted = {person: _name(person) for person in persons}
        found = {person: key for person, name in wanted.items() if (key := self._kept(name))}
        if len(found) < len(wanted):
            missing = {name: person for person, name in wanted.items() if person not in found}
            for name, record in (await self.store.read(list(missing))).items():
                found[missing[name]] = await self._unwrap(name, record)
        return found

    async def obtain(self, persons: Iterable[Any]) -> dict[Any, PersonKey]:
        """The keys of these persons, to encrypt with; who has none gets one.

        Raises:
            KeyDestroyedError: the key of one of them was destroyed.
        """
        wanted = dict.fromkeys(persons)
        found = await self.find(wanted)
        missing = [person for person in wanted if person not in found]
        for start in range(0, len(missing), _AT_ONCE):
            some = missing[start : start + _AT_ONCE]
            made = await asyncio.gather(*(self._make(_name(person)) for person in some))
            found.update(zip(some, made, strict=True))
        for key in found.values():
            if key.cipher is None:
                raise destroyed(key.key_id)
        return found

    async def destroy(self, person: Any) -> PersonState:
        """Destroy the key of a person for good, and with it every copy of what was encrypted with it; what there was before.

        Other processes may have it in memory for as long as their setting ``person_key_seconds`` says. No new key is made
        for this person.
        """
        name = _name(person)
        before = (await self.store.read([name])).get(name)
        record = await self.store.destroy(name)
        self._unwrapped.pop(name, None)
        self._keep(name, PersonKey(record.key_id, None))
        return _state(before)

    async def state(self, person: Any) -> PersonState:
        """What the store has of a person, asked for now."""
        name = _name(person)
        return _state((await self.store.read([name])).get(name))

    async def rewrap(self, person: str, record: PersonRecord) -> bool:
        """Wrap a key with the primary master key; False if it is not there any more, or not needed.

        Args:
            person: the digest by which the store knows them.

        Raises:
            EncryptionError: it cannot be unwrapped.
        """
        master, wrap = await self._wrapping.primary()
        if record.wrapped is None or record.master == master:
            return False
        key = await self._plain(person, record)
        context = _context(person, record.key_id, master)
        new = PersonRecord(record.key_id, master, wrap.encrypt(key, context))
        return await self.store.rewrap(person, record, new)

    def forget(self) -> None:
        """Drop every unwrapped key now."""
        self._unwrapped.clear()
        if self._timer is not None:
            self._timer[1].cancel()
            self._timer = None

    async def _make(self, name: str) -> PersonKey:
        master, wrap = await self._wrapping.primary()
        key_id, key = f"p-{secrets.token_hex(12)}", new_key()
        wrapped = wrap.encrypt(key, _context(name, key_id, master))
        # Another process may have made one meanwhile, or destroyed what was never there.
        record = await self.store.add(name, PersonRecord(key_id, master, wrapped))
        return await self._unwrap(name, record)

    async def _unwrap(self, name: str, record: PersonRecord) -> PersonKey:
        if record.wrapped is None:
            key = PersonKey(record.key_id, None)
        else:
            key = PersonKey(record.key_id, Cipher(await self._plain(name, record)))
        kept = self._kept(name)
        if kept is not None and kept.cipher is None:
            return kept  # destroyed while it was being read
        self._keep(name, key)
        return key

    async def _plain(self, name: str, record: PersonRecord) -> bytes:
        assert record.wrapped is not None
        cipher = await self._wrapping.by(record.master)
        context = _context(name, record.key_id, record.master)
        try:
            return cipher.decrypt(record.wrapped[:NONCE], record.wrapped[NONCE:], context)
        except (WrongKeyError, ValueError):
            raise DecryptionError(
                f"The data key {record.key_id} cannot be unwrapped with the master key {record.master!r}: it was changed, "
                "or the key of that name is another one.",
                key_id=record.master,
            ) from None

    # In memory

    def _kept(self, name: str) -> PersonKey | None:
        kept = self._unwrapped.get(name)
        return kept[1] if kept is not None and time.monotonic() < kept[0] else None

    def _keep(self, name: str, key: PersonKey) -> None:
        if self._seconds <= 0:
            return
        self._unwrapped.pop(name, None)
        self._unwrapped[name] = time.monotonic() + self._seconds, key
        if len(self._unwrapped) > self._limit:
            self._unwrapped.popitem(last=False)
        self._wake_later()

    def _wake_later(self) -> None:
        """A key that nobody asks for any more goes, too."""
        loop = asyncio.get_running_loop()
        if self._unwrapped and (self._timer is None or self._timer[0] is not loop):
            first = next(iter(self._unwrapped.values()))[0]
            wait = max(0.0, first - time.monotonic()) + 0.01
            self._timer = loop, loop.call_later(wait, self._sweep)

    def _sweep(self) -> None:
        self._timer = None
        now = time.monotonic()
        while self._unwrapped and next(iter(self._unwrapped.values()))[0] <= now:
            self._unwrapped.popitem(last=False)
        self._wake_later()


def destroyed(key_id: str) -> KeyDestroyedError:
    """The error of whoever needs a key that is gone."""
    which = "that they would have had" if key_id == NO_KEY else key_id
    return KeyDestroyedError(
        f"The data key {which} of the person whose row this is was destroyed: what was encrypted with it cannot be read "
        "any more, and nothing new is encrypted for this person.",
        key_id=key_id,
    )


def _name(person: Any) -> str:
    return sha256(str(person).encode()).hexdigest()


def _context(name: str, key_id: str, master: str) -> bytes:
    return f"person key\0{name}\0{key_id}\0{master}".encode()


def _state(record: PersonRecord | None) -> PersonState:
    if record is None:
        return "none"
    return "kept" if record.wrapped is not None else "destroyed"
