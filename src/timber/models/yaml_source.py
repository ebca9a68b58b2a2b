"""A YAML document as plain values, with the place of each of them in the file.

Only what data needs is read: no tags, no merge keys, no Python objects. Plain words become values by YAML 1.2's core
schema, so that ``no`` and ``on`` are text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NoReturn

import yaml

from timber.errors import ConfigurationError

Location = tuple[str | int, ...]
"""The way to a value from the top of its document: keys and positions."""

MAX_BYTES: Final = 1_000_000
MAX_NODES: Final = 100_000
MAX_DEPTH: Final = 32

_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+)")
_WORDS: Final = {
    "": None,
    "~": None,
    "null": None,
    "Null": None,
    "NULL": None,
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
}


@dataclass(slots=True)
class Source:
    """Where values come from: a file, and the line and column (both from 1) of each value and key in it."""

    file: str | None = None
    values: dict[Location, tuple[int, int]] = field(default_factory=dict)
    keys: dict[Location, tuple[int, int]] = field(default_factory=dict)

    def error(self, location: Location, message: str, *, key: bool = False) -> ConfigurationError:
        """An error at a value, or at its key; at what surrounds it where it is not in the file itself."""
        line, column = self.position(location, key=key)
        return ConfigurationError(message, file=self.file, line=line, column=column)

    def position(self, location: Location, *, key: bool) -> tuple[int | None, int | None]:
        """The line and column of a value or key, or of the nearest value around it."""
        if key and location in self.keys:
            return self.keys[location]
        for length in range(len(location), -1, -1):
            if location[:length] in self.values:
                return self.values[location[:length]]
        return None, None


@dataclass(frozen=True, slots=True)
class Document:
    """What a file says, its places, and what is wrong with it as YAML."""

    data: Any
    source: Source
    errors: tuple[ConfigurationError, ...]


def read_document(path: Path) -> Document:
    """Read a YAML file without ever building anything but plain values."""
    source = Source(str(path))
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except OSError as error:
        reason = (error.strerror or "cannot be read").lower()
        return _failed(source, f"the model file cannot be read: {reason}")
    if len(raw) > MAX_BYTES:
        return _failed(source, f"the file is larger than {MAX_BYTES:,} bytes")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode(errors="replace")
        line, column = before.count("\n") + 1, len(before.rpartition("\n")[2]) + 1
        return _failed(source, "the file is not UTF-8 text", line, column)
    return parse_document(text, source)


def parse_document(text: str, source: Source) -> Document:
    """Read YAML text."""
    reader = _Reader(source)
    try:
        # The pure Python parser: its messages and places do not depend on what is installed.
        data = reader.read(yaml.parse(text, Loader=yaml.SafeLoader))
    except _UnreadableError:
        data = None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        context = f"{error.context}, " if error.context else ""
        hint = "; put a type with brackets or commas in quotes" if "flow" in context else ""
        message = f"not valid YAML: {context}{error.problem}{hint}"
        reader.errors.append(_at(source, message, mark))
        data = None
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        line, column = before.count("\n") + 1, len(before.rpartition("\n")[2]) + 1
        return _failed(source, "not valid YAML: a control character", line, column)
    return Document(data, source, tuple(reader.errors))


def _failed(
    source: Source, message: str, line: int | None = None, column: int | None = None
) -> Document:
    error = ConfigurationError(message, file=source.file, line=line, column=column)
    return Document(None, source, (error,))


def _at(source: Source, message: str, mark: yaml.Mark | None) -> ConfigurationError:
    line, column = (mark.line + 1, mark.column + 1) if mark else (None, None)
    return ConfigurationError(message, file=source.file, line=line, column=column)


class _UnreadableError(Exception):
    """The document is not worth reading on; the errors say why."""


class _Node:
    """A value as it stands in the file: where it begins, and for a collection its items."""

    __slots__ = ("items", "mark", "size", "value")

    def __init__(self, mark: yaml.Mark) -> None:
        self.mark = mark
        self.value: Any = None
        self.items: list[tuple[_Node, _Node]] | list[_Node] | None = None
        self.size = 1  # nodes, with every alias counted as what it stands for


class _Reader:
    """Turns the events of one document into plain values."""

    def __init__(self, source: Source) -> None:
        self.errors: list[ConfigurationError] = []
        self._source = source
        self._anchors: dict[str, _Node | None] = {}

    def read(self, events: Any) -> Any:
        self._events = events
        next(events)  # the start of the stream
        start = next(events)
        if isinstance(start, yaml.StreamEndEvent):
            self._stop("the file is empty", start.start_mark)
        root = self._node(next(events), 0)
        next(events)  # the end of the document
        after = next(events)
        if isinstance(after, yaml.DocumentStartEvent):
            self._stop("a file holds one document; this is a second", after.start_mark)
        return self._plain(root, ())

    def _node(self, event: Any, depth: int) -> _Node:
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        node = _Node(event.start_mark)
        if depth > MAX_DEPTH:
            self._stop(f"nested deeper than {MAX_DEPTH} levels", event.start_mark)
        if event.tag is not None and event.tag != "!":
            self._stop(f"the tag {_shown(event.tag)} is not allowed here", event.start_mark)
        if event.anchor is not None:
            self._anchors[event.anchor] = None  # until it is complete
        if isinstance(event, yaml.ScalarEvent):
            node.value = _scalar(event.value) if event.implicit[0] else event.value
        elif isinstance(event, yaml.SequenceStartEvent):
            items: list[_Node] = []
            while not isinstance(item := next(self._events), yaml.SequenceEndEvent):
                items.append(self._grow(node, self._node(item, depth + 1)))
            node.items = items
        else:
            node.items = self._pairs(node, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _pairs(self, node: _Node, depth: int) -> list[tuple[_Node, _Node]]:
        pairs: list[tuple[_Node, _Node]] = []
        node.value = {}
        seen: dict[Any, yaml.Mark] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._grow(node, self._node(event, depth + 1))
            value = self._grow(node, self._node(next(self._events), depth + 1))
            name = key.value
            if key.items is not None or not isinstance(name, str):
                # A number or a truth value as a key is its text: keys are names.
                if isinstance(event, yaml.ScalarEvent):
                    name = key.value = event.value
                else:
                    self._wrong("a key must be a name", key.mark)
                    continue
            if name == "<<":
                self._wrong("merge keys are not supported; use a mixin", key.mark)
            elif name in seen:
                line = seen[name].line + 1
                self._wrong(f"duplicate key {_shown(name)}, first on line {line}", key.mark)
            else:
                seen[name] = key.mark
                pairs.append((key, value))
        return pairs

    def _alias(self, event: Any) -> _Node:
        if event.anchor not in self._anchors:
            self._stop(f"the alias *{event.anchor} has no anchor", event.start_mark)
        target = self._anchors[event.anchor]
        if target is None:
            self._stop(f"the alias *{event.anchor} stands inside itself", event.start_mark)
        node = _Node(event.start_mark)
        node.value, node.items, node.size = target.value, target.items, target.size
        return node

    def _grow(self, parent: _Node, child: _Node) -> _Node:
        parent.size += child.size
        if parent.size > MAX_NODES:
            self._stop(
                f"more than {MAX_NODES:,} values once its aliases are written out", child.mark
            )
        return child

    def _plain(self, node: _Node, location: Location) -> Any:
        self._source.values[location] = (node.mark.line + 1, node.mark.column + 1)
        if node.items is None:
            return node.value
        if isinstance(node.value, dict):
            mapping: dict[str, Any] = {}
            for key, value in node.items:  # type: ignore[misc]
                below = (*location, key.value)
                self._source.keys[below] = (key.mark.line + 1, key.mark.column + 1)
                mapping[key.value] = self._plain(value, below)
            return mapping
        return [self._plain(item, (*location, i)) for i, item in enumerate(node.items)]  # type: ignore[arg-type]

    def _wrong(self, message: str, mark: yaml.Mark) -> None:
        self.errors.append(_at(self._source, message, mark))

    def _stop(self, message: str, mark: Any) -> NoReturn:
        self._wrong(message, mark)
        raise _UnreadableError


def _shown(word: str) -> str:
    return repr(word if len(word) <= 60 else word[:57] + "...")


def _scalar(text: str) -> Any:
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text) and len(text) < 40:
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text
