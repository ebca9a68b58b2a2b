"""Models in YAML with a mistake in them: in the text, or in what it says."""

from __future__ import annotations

import copy
import random
from pathlib import Path
from typing import Any

import yaml

from tests.faults.bad_world import PROVIDERS, REGISTRY_FILE
from tests.faults.junk import TEXTS, junk, shown
from timber.app import Timber
from timber.models.registry import ModelRegistry
from timber.services import sessions

_BUILT_IN = sorted(Path(sessions.__file__).parent.glob("*.yaml"))


def _models_of(file: Path, own: str = "") -> list[dict[str, Any]]:
    """The built-in ones are there already: taken as examples they have other names."""
    models: list[dict[str, Any]] = yaml.safe_load(file.read_text(encoding="utf-8"))["models"]
    return [
        {**model, "name": f"{own}{model['name']}", "table": f"{own.lower()}{model['table']}"}
        for model in models
    ]


_MODELS = [
    *_models_of(REGISTRY_FILE),
    *(model for file in _BUILT_IN for model in _models_of(file, "Own")),
]
_BITS = (
    "\t", "\n", " ", ":", "- ", "{", "}", "[", "]", "&a ", "*a", "!!python/object:os.system ", "!x ", "|", ">", '"', "'", "#",
    "---\n", "...\n", "%YAML 9\n", "? ", "<<: *a", "~", "null", "true", "0x1f", "1e999", ".nan", "2026-01-01", "\x07", "\ufeff", "\0",
)  # fmt: skip
_WORDS = (
    "id", "String(0)", "String(-1)", "String(99999999999)", "Numeric(1,5)", "Enum[]", "Enum[a, a]", "Array[Array[Text]]", "Vector(0)",
    "Text", "UUID", "DateTime", "Interval", "JSONB", "x" * 64, "x" * 10_000, "select", "a b", "a;b", "1a", "Session", "Case", "Folder.id",
    "Folder", "now()", "x > 0", "); DROP TABLE cases; --", "created_at", "user_id", "deleted_at", "version", "Timestamps", "gin",
)  # fmt: skip


class BadModels:
    """One file of models."""

    def __init__(self, rng: random.Random, folder: Path) -> None:
        self.rng = rng
        self.path = folder / "models.yaml"
        self.made = self._make()

    def __str__(self) -> str:
        return shown(self.made, 3000)

    def _make(self) -> str | bytes:
        rng = self.rng
        document = self._some_models()
        if rng.random() < 0.4:
            return self._with_broken_text(yaml.safe_dump(document, sort_keys=False))
        for _ in range(rng.choice((1, 1, 2))):
            document = self._with_a_mistake(document)
        try:
            return yaml.safe_dump(document, allow_unicode=True, sort_keys=False)
        except (yaml.YAMLError, RecursionError, TypeError, ValueError):
            return shown(document, 1000)

    def _some_models(self) -> dict[str, Any]:
        """A model or two with a few columns: what is read soon is read often."""
        rng = self.rng
        models = copy.deepcopy(rng.choices(_MODELS, k=rng.choice((1, 1, 2))))
        for model in models:
            model["columns"] = rng.sample(model["columns"], min(4, len(model["columns"])))
        return {"version": 1, "models": models}

    def _with_broken_text(self, source: str) -> str | bytes:
        rng = self.rng
        for _ in range(rng.choice((1, 1, 3))):
            start = rng.randrange(len(source))
            end = start + rng.choice((0, 0, 1, 5))
            source = source[:start] + rng.choice(("", *_BITS)) + source[end:]
        if rng.random() < 0.1:
            return source.encode("utf-16" if rng.random() < 0.5 else "utf-8", "replace")[
                rng.randint(0, 3) :
            ]
        return source

    def _with_a_mistake(self, document: Any) -> Any:
        """Some node of it replaced, left out, renamed, or there twice."""
        rng = self.rng
        document = copy.deepcopy(document)
        holders = [holder for holder in _holders(document) if holder]
        if not holders:
            return document
        holder = rng.choice(holders)
        key = rng.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
        kind = rng.random()
        if kind < 0.5:
            holder[key] = rng.choice(_WORDS) if rng.random() < 0.6 else _plain(junk(rng))
        elif kind < 0.65:
            del holder[key]
        elif kind < 0.85 and isinstance(holder, dict):
            holder[rng.choice((*_WORDS, *TEXTS[:20], 1, None, "name", "type", "table"))] = (
                holder.pop(key)
            )
        elif isinstance(holder, list):
            holder.append(copy.deepcopy(holder[key]))
        else:
            holder[rng.choice(("name", "columns", "features", "mixins", "extends"))] = holder[key]
        return document

    async def run(self, url: str) -> None:
        """Read it; a Timber that starts with it gives its tables, and takes them away again."""
        if isinstance(self.made, bytes):
            self.path.write_bytes(self.made)
        else:
            self.path.write_text(self.made, encoding="utf-8", errors="surrogatepass")
        registry = ModelRegistry(dirs=[self.path.parent])
        registry.list_models()
        if self.rng.random() < 0.2:
            async with Timber(
                url, registry=registry, providers=PROVIDERS, audit_seal_every=None
            ) as timber:
                await timber.db.create_all_tables()
                await timber.db.drop_all_tables()


def _holders(node: Any) -> list[Any]:
    if isinstance(node, dict):
        return [node, *(each for value in node.values() for each in _holders(value))]
    if isinstance(node, list):
        return [node, *(each for value in node for each in _holders(value))]
    return []


def _plain(value: Any) -> Any:
    """What YAML can say."""
    return value if isinstance(value, str | int | float | bool | None) else shown(value, 50)
