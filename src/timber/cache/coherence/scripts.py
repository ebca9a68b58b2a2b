"""What happens inside Redis in one go, in Lua: taking a lease, filling over it, giving it back, clearing.

No script relies on a flag of newer servers, and clearing uses only commands that a Redis out of memory still takes.
"""

from __future__ import annotations

from hashlib import sha1
from typing import Final


class Script:
    """The text of a script and the digest that Redis knows it by."""

    __slots__ = ("sha", "text")

    def __init__(self, text: str) -> None:
        self.text: str = text
        self.sha: str = sha1(text.encode(), usedforsecurity=False).hexdigest()


LEASE: Final = Script("""
-- KEYS: entry, generations...   ARGV: seen head, lease, lease ms, generation ms, fresh generations...
if redis.call('GETRANGE', KEYS[1], 0, #ARGV[2] - 1) ~= ARGV[1] then return false end
local stamps = {}
for i = 2, #KEYS do
  local stamp = redis.call('GET', KEYS[i])
  if stamp then
    redis.call('PEXPIRE', KEYS[i], ARGV[4])
  else
    stamp = ARGV[i + 3]
    redis.call('SET', KEYS[i], stamp, 'PX', ARGV[4])
  end
  stamps[i - 1] = stamp
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
local info = redis.call('INFO', 'replication')
return {string.match(info, 'master_replid:(%w+)') or '', unpack(stamps)}
""")

FILL: Final = Script("""
-- KEYS: entry, generations...   ARGV: lease, value, value ms, stamps...
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
for i = 2, #KEYS do
  if redis.call('GET', KEYS[i]) ~= ARGV[i + 2] then
    redis.call('DEL', KEYS[1])
    return 0
  end
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
""")

RELEASE: Final = Script("""
-- KEYS: entry   ARGV: lease
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
""")

CLEAR: Final = Script("""
-- KEYS: entries and generations   ARGV: channel, message
for i = 1, #KEYS, 1000 do
  redis.call('DEL', unpack(KEYS, i, math.min(i + 999, #KEYS)))
end
return redis.call('PUBLISH', ARGV[1], ARGV[2])
""")

ALL: Final = (LEASE, FILL, RELEASE, CLEAR)
