"""Where master keys come from: a file that only its owner can read, the environment, or a function."""

from __future__ import annotations

import asyncio
import json
import stat
from pathlib import Path

import pytest

from tests.features.encryption.models import REGISTRY, Keys, account, feature, read, stored
from timber.errors import ConfigurationError, KeyNotFoundError
from timber.features.encryption import (
    CallableKeyRing,
    EncryptionProvider,
    EnvironmentKeyRing,
    FileKeyRing,
    KeySet,
    PersonKeyFolder,
    provider_of_settings,
)
from timber.features.encryption.keys import encode_key
from timber.settings import TimberSettings

ONE, TWO = b"1" * 32, b"2" * 32


@pytest.fixture
def ring(tmp_path: Path) -> FileKeyRing:
    return FileKeyRing(tmp_path / "deep" / "keys.json")


def test_a_new_file_has_one_key_which_is_the_primary_one_and_nobody_else_reads_it(ring):
    first = ring.add()
    assert ring.known().primary == first
    assert stat.S_IMODE(ring.path.stat().st_mode) == 0o600
    second = ring.add()
    third = ring.add(primary=True)
    assert ring.known().primary == third
    assert set(ring.known().keys) == {first, second, third}
    assert [len(set(map(len, ring.known().keys.values())))] == [1]
    assert {p.name for p in ring.path.parent.iterdir()} == {"keys.json", ".keys.json.lock"}


def test_a_change_by_another_process_is_seen_at_once(ring):
    first = ring.add()
    known = ring.known()
    assert ring.known() is known
    other = FileKeyRing(ring.path)
    second = other.add()
    assert set(ring.known().keys) == {first, second}
    other.promote(second)
    assert ring.known().primary == second


async def test_keys_made_at_once_are_all_there(ring):
    made = await asyncio.gather(*(asyncio.to_thread(FileKeyRing(ring.path).add) for _ in range(20)))
    assert set(ring.known().keys) == set(made)


def test_a_file_that_others_can_read_is_refused(ring):
    ring.add()
    ring.path.chmod(0o640)
    other = FileKeyRing(ring.path)
    with pytest.raises(ConfigurationError, match=r"can be read.*chmod 600"):
        other.known()
    with pytest.raises(ConfigurationError, match="chmod 600"):
        other.add()
    ring.path.chmod(0o400)
    assert other.known()


@pytest.mark.parametrize(
    "spoil", [Path.unlink, lambda path: path.write_text("{"), lambda path: path.chmod(0o644)]
)
def test_a_file_that_goes_bad_while_it_is_used_leaves_what_is_known_and_a_warning(
    ring, spoil, caplog
):
    first = ring.add()
    known = ring.known()
    content = ring.path.read_text()
    spoil(ring.path)
    assert [ring.known() for _ in range(3)] == [known] * 3
    assert len(caplog.records) == 1
    ring.path.unlink(missing_ok=True)
    ring.path.write_text(content.replace(first, "renamed"))
    ring.path.chmod(0o600)
    assert ring.known().primary == "renamed"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is not JSON"),
        ("[]", "is not of version 1"),
        ('{"version": 2}', "is not of version 1"),
        ('{"version": 1, "keys": {}, "primary": "a"}', "no key 'a'"),
        ('{"version": 1, "keys": {"a": "CANARY"}, "primary": "a"}', "'a' in .* is not 32 bytes"),
        ('{"version": 1, "keys": {"a/b": "CANARY"}, "primary": "a"}', "The id of a key"),
        ('{"version": 1, "keys": {"\\ud800": ""}, "primary": "a"}', "The id of a key"),
        ('{"version": 1, "keys": {"a": 5}, "primary": "a"}', "is not 32 bytes"),
        ('{"version": 1, "keys": {"a": "", "a": ""}, "primary": "a"}', "a key twice"),
        ('{"version": 1, "primary": "a"}', "needs `keys`"),
    ],
)
def test_a_malformed_file_is_refused_without_showing_what_is_in_it(ring, text, said):
    ring.add()
    ring.path.write_text(text)
    with pytest.raises(ConfigurationError, match=said) as caught:
        FileKeyRing(ring.path).known()
    assert "CANARY" not in str(caught.value)


def test_a_missing_file_says_how_to_make_one(ring):
    with pytest.raises(ConfigurationError, match="timber keys new"):
        ring.known()
    with pytest.raises(ConfigurationError, match="no key 'x'"):
        ring.promote("x")


def test_the_environment_has_the_primary_key_first(monkeypatch):
    ring = EnvironmentKeyRing("SHOP_KEYS")
    with pytest.raises(ConfigurationError, match="SHOP_KEYS"):
        ring.known()
    monkeypatch.setenv("SHOP_KEYS", f"b:{encode_key(TWO)}, a:{encode_key(ONE)}")
    assert (ring.known().primary, dict(ring.known().keys)) == ("b", {"b": TWO, "a": ONE})
    secret = encode_key(ONE)[:-4]
    for wrong in (secret, f"a:{secret}", f"a b:{encode_key(ONE)}", f"{encode_key(ONE)}:a"):
        monkeypatch.setenv("SHOP_KEYS", wrong)
        with pytest.raises(ConfigurationError) as caught:
            ring.known()
        assert secret[:8] not in str(caught.value)


async def test_a_function_is_asked_once_until_its_keys_are_old():
    asked = []

    async def fetch():
        asked.append(1)
        return KeySet("a", {"a": ONE})

    ring = CallableKeyRing(fetch, seconds=0.05)
    assert ring.known() is None
    accounts = feature("Account", EncryptionProvider(ring))
    with pytest.raises(ConfigurationError, match="have not been loaded"):
        accounts.stored_forms("mail", ["x"])
    (kept,) = await stored(accounts, [account()])
    await read(accounts, kept, kept)
    assert len(asked) == 1
    await asyncio.sleep(0.06)
    assert accounts.stored_forms("mail", ["x"])
    await read(accounts, kept)
    assert len(asked) == 2


async def test_a_key_that_came_later_is_asked_for():
    keys = {"a": ONE}
    ring = CallableKeyRing(lambda: KeySet("a", keys), seconds=60)
    here = feature("Account", EncryptionProvider(ring))
    await stored(here, [account()])
    keys["b"] = TWO
    elsewhere = feature("Account", EncryptionProvider(CallableKeyRing(lambda: KeySet("b", keys))))
    (kept,) = await stored(elsewhere, [account()])
    assert (await read(here, kept))[0]["iban"] == account()["iban"]


async def test_keys_that_cannot_be_refreshed_stay_in_use_and_the_first_time_is_an_error(caplog):
    outcomes = [KeySet("a", {"a": ONE}), RuntimeError("CANARY")]

    def fetch():
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    ring = CallableKeyRing(fetch, seconds=0)
    assert (await ring.load()).primary == "a"
    assert (await ring.load()).primary == "a"
    assert "RuntimeError" in caplog.text
    broken = CallableKeyRing(lambda: 1 / 0)
    with pytest.raises(ConfigurationError, match="ZeroDivisionError") as caught:
        await broken.load()
    assert caught.value.__cause__ is None
    with pytest.raises(ConfigurationError, match="no KeySet"):
        await CallableKeyRing(lambda: {"a": ONE}).load()  # type: ignore[arg-type, return-value]
    assert "CANARY" not in caplog.text


def test_keys_are_never_shown():
    assert "1111" not in repr(KeySet("a", {"a": ONE}))
    settings = TimberSettings(encryption_keys="env:CANARY", person_keys="postgresql://u:CANARY@h/d")
    assert "CANARY" not in repr(settings)
    with pytest.raises(ConfigurationError, match="'a' is not 32"):
        KeySet("a", {"a": b"short"})


def test_settings_name_the_keys(tmp_path, monkeypatch):
    assert provider_of_settings(TimberSettings()) is None
    path = tmp_path / "keys.json"
    FileKeyRing(path).add()
    provider = provider_of_settings(
        TimberSettings(encryption_keys=path, person_keys=tmp_path / "p")
    )
    assert provider is not None
    assert isinstance(provider.persons.store, PersonKeyFolder)
    assert feature("Account", provider)
    monkeypatch.setenv("TIMBER_ENCRYPTION_KEYS", "env:SHOP_KEYS")
    made = provider_of_settings(TimberSettings())
    assert made is not None
    with pytest.raises(ConfigurationError, match="SHOP_KEYS"):
        feature("Account", made)
    with pytest.raises(ConfigurationError, match="person_keys"):
        feature("Diary", EncryptionProvider(Keys()))


async def test_a_key_that_is_not_there_is_asked_for_once_in_a_while(keys):
    loads = []

    class Counting(Keys):
        async def load(self):
            loads.append(1)
            return await super().load()

    accounts = feature("Account", EncryptionProvider(Keys("gone")))
    (kept,) = await stored(accounts, [account()])
    here = feature("Account", EncryptionProvider(Counting()))
    for _ in range(5):
        with pytest.raises(KeyNotFoundError, match="'gone'"):
            await read(here, kept)
    assert len(loads) == 1


def test_a_table_of_ones_own_has_to_have_bytes(tmp_path):
    import sqlalchemy as sa

    from timber.features.feature import FeatureModel

    config = REGISTRY.model_config("Letter")
    table = sa.Table(
        "letters", sa.MetaData(), sa.Column("iban", sa.Text), sa.Column("body", sa.Text)
    )
    with pytest.raises(ConfigurationError, match=r"Letter.iban .* is TEXT"):
        EncryptionProvider(Keys()).feature(FeatureModel(config, table, None))  # type: ignore[arg-type]


def test_the_file_is_what_the_page_says(ring):
    key_id = ring.add()
    data = json.loads(ring.path.read_text())
    assert set(data) == {"version", "primary", "keys"}
    assert data["primary"] == key_id
