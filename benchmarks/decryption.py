"""How long it takes to decrypt 20 rows, without a database: ``python -m benchmarks.decryption``."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from time import perf_counter
from typing import Any
from uuid import uuid4

from benchmarks.estimates import Estimate, estimate
from timber.features.encryption import EncryptionProvider, KeySet, PersonKeyFolder
from timber.features.feature import FeatureModel, Write
from timber.models.columns import ColumnConfig
from timber.models.config import FeaturesConfig, ModelConfig
from timber.models.registry import ModelRegistry

ROWS = 20


async def time_decryption(
    columns: int = 2, *, rounds: int = 1000, per_person: bool = False
) -> Estimate:
    """The time for 20 rows with so many encrypted columns of text, in microseconds."""
    names = [f"text_{number}" for number in range(columns)]
    feature, rows = await _made(names, per_person=per_person)
    samples = []
    for _ in range(rounds):
        read = [dict(row) for row in rows]
        began = perf_counter()
        await feature.after_query(read)
        samples.append((perf_counter() - began) * 1e6)
        assert read[0][names[0]] == "a short text of 32 characters .."
    return estimate(samples)


async def _made(names: list[str], *, per_person: bool) -> tuple[Any, list[dict[str, Any]]]:
    encryption: Any = {"columns": names, "per_person": per_person}
    config = ModelConfig(
        name="Note",
        table="notes",
        mixins=("Owner",),
        columns=tuple(ColumnConfig.model_validate({"name": n, "type": "Text"}) for n in names),
        features=FeaturesConfig.model_validate({"encryption": encryption}),
    )
    registry = ModelRegistry(models=[config], built_in=False)
    database: Any = None  # nothing is sent
    model = FeatureModel(registry.model_config("Note"), registry.table("Note"), database)
    with tempfile.TemporaryDirectory() as folder:
        feature = EncryptionProvider(_OneKey(), PersonKeyFolder(folder)).feature(model)
        assert feature is not None
        text = dict.fromkeys(names, "a short text of 32 characters ..")
        rows = [{"id": uuid4(), "user_id": "ann", **text} for _ in range(ROWS)]
        await feature.before_insert(Write("insert", rows, [row["id"] for row in rows]))
    return feature, rows


class _OneKey:
    def __init__(self) -> None:
        self._keys = KeySet("one", {"one": b"1" * 32})

    def known(self) -> KeySet:
        return self._keys

    async def load(self) -> KeySet:
        return self._keys


def main() -> None:
    rounds = 20 if "--short" in sys.argv else 1000
    for per_person in (False, True):
        for columns in (1, 2):
            took = asyncio.run(time_decryption(columns, rounds=rounds, per_person=per_person))
            keys = "keys of persons" if per_person else "keys of the ring"
            print(
                f"{ROWS} rows, {columns} columns, {keys}: {took.median:.1f} us "
                f"({took.low:.1f} to {took.high:.1f})"
            )


if __name__ == "__main__":
    main()
