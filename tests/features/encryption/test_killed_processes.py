"""A process that is killed while it makes, wraps or destroys keys of persons leaves none of them half done."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.features.encryption.models import Keys
from timber.features.encryption import EncryptionProvider, PersonKeyFolder

WORK = """
import asyncio, sys
from tests.features.encryption.models import Keys
from timber.features.encryption import EncryptionProvider, PersonKeyFolder

async def work(folder, seed):
    provider = EncryptionProvider(Keys("one"), PersonKeyFolder(folder), person_key_seconds=0)
    print("ready", flush=True)
    number = seed
    while True:
        number = (number * 7 + 3) % 101
        if number % 5 == 0:
            await provider.persons.destroy(number)
        else:
            await asyncio.gather(provider.persons.obtain([number]), return_exceptions=True)
        print(number, flush=True)

asyncio.run(work(sys.argv[1], int(sys.argv[2])))
"""


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_what_is_left_is_whole_and_what_was_destroyed_stays_so(folder):
    destroyed: set[int] = set()
    luck = random.Random(4711)
    for round_ in range(5):
        with ExitStack() as stack:
            running = [
                stack.enter_context(begun(folder, 3 * round_ + number)) for number in range(2)
            ]
            for process in running:
                assert process.stdout is not None
                assert process.stdout.readline() == "ready\n"
            await asyncio.sleep(luck.uniform(0.1, 0.5))
            for process in running:
                process.kill()
                said, _ = process.communicate()
                # The last line may be cut off, too.
                words = said.split("\n")[:-1]
                destroyed |= {int(word) for word in words if int(word) % 5 == 0}
        provider = EncryptionProvider(Keys("one"), PersonKeyFolder(folder))
        found = await provider.persons.find(range(101))
        assert found
        assert all(found[number].cipher is None for number in destroyed)
        assert all(key.cipher is not None for n, key in found.items() if n % 5)
        provider.persons.forget()
    assert destroyed


@contextmanager
def begun(folder: Path, seed: int) -> Generator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", WORK, str(folder), str(seed)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
