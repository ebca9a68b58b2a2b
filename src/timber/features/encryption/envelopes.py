"""What an encrypted value looks like in its column: it says by itself how it was made.

======================  ==============================================================
1 byte                  version of this format
1 byte                  whose key: 0 of the key ring, 1 of a person
1 byte                  type of the value, see :mod:`~timber.features.encryption.values`
1 byte                  length of the key's id
1 to 64 bytes           id of the key
12 bytes                nonce
the rest                ciphertext and, in the last 16 bytes, tag
======================  ==============================================================

All that stands before the nonce is the head. It is authenticated, together with the table, the column and the row's key.
"""

from __future__ import annotations

import re
from typing import Final

VERSION: Final = 1
RING: Final = 0
"""The key is one of the key ring."""
PERSON: Final = 1
"""The key is a person's data key."""

ID_AT: Final = 4
"""Where the id of the key begins."""
KEY_ID: Final = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""What the id of a key looks like."""
NONCE: Final = 12
TAG: Final = 16


def head(kind: int, tag: int, key_id: str) -> bytes:
    """What an envelope with this key begins with."""
    name = key_id.encode()
    return bytes((VERSION, kind, tag, len(name))) + name


def key_id_of(envelope: bytes) -> str | None:
    """The id of the key that a value was encrypted with; None if it is no envelope of a known version."""
    if len(envelope) <= ID_AT or envelope[0] != VERSION or envelope[1] not in (RING, PERSON):
        return None
    end = ID_AT + envelope[3]
    key_id = envelope[ID_AT:end]
    # It is shown in errors, and what else may stand in a column is not.
    if len(envelope) < end + NONCE + TAG or not KEY_ID.fullmatch(key_id):
        return None
    return key_id.decode()


def context(table: str, column: str) -> bytes:
    """What is authenticated of the place of a value, before the row's key."""
    return b"".join(len(name.encode()).to_bytes(2) + name.encode() for name in (table, column))
