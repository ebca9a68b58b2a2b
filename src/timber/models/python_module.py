"""The generated DTOs written out as a Python module, so that type checkers and editors can read them."""

from __future__ import annotations

import json
import re
import textwrap
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from timber.models.dtos import updatable
from timber.models.fingerprint import WRITTEN_FOR, fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterable

    from timber.models.column_types import ColumnType
    from timber.models.config import ColumnConfig, ModelConfig
    from timber.models.registry import ModelRegistry

_DOC: Final = '''\
"""DTOs of the models, written by `timber schema --python`. Do not edit: write it again when a model changes.

Each class knows the columns it was written for, and Timber refuses to start with one that no longer fits.
"""

# ruff: noqa: N812
from __future__ import annotations

'''

# Under names that no column can have: a field called `date` would hide the type of that name in its class.
_IMPORTS: Final = (
    ("datetime", "date as Date"),
    ("datetime", "datetime as DateTime"),
    ("datetime", "time as Time"),
    ("datetime", "timedelta as TimeDelta"),
    ("decimal", "Decimal"),
    ("typing", "Annotated, Any, ClassVar, Literal"),
    ("uuid", "UUID"),
    ("", ""),
    ("pydantic", "Field"),
    ("", ""),
    ("timber.dto", "DTO, InputDTO"),
    ("timber.models.dtos", "LEFT_OUT, without_default"),
    ("timber.models.values", "Rule, StrictList"),
)

_SOURCES: Final = {
    "String": "str",
    "Text": "str",
    "Integer": "int",
    "BigInteger": "int",
    "SmallInteger": "int",
    "Float": "float",
    "Numeric": "Decimal",
    "Boolean": "bool",
    "Date": "Date",
    "Time": "Time",
    "DateTime": "DateTime",
    "Interval": "TimeDelta",
    "UUID": "UUID",
    "Binary": "bytes",
    "JSON": "Any",
    "JSONB": "Any",
    "Vector": "list[float]",
}


_LINE: Final = 84  # and four spaces of indentation


def write_python_module(registry: ModelRegistry, names: Iterable[str] | None = None) -> str:
    """The source of a module with ``NameCreate``, ``NameUpdate`` and ``NameRead`` of the models, all by default."""
    wanted = registry.list_models() if names is None else list(names)
    classes = "\n\n".join(_classes(registry.model_config(name)) for name in wanted)
    return f"{_DOC}{_imports(classes)}\n\n\n{classes.rstrip()}\n"


def _imports(source: str) -> str:
    lines = []
    for module, names in _IMPORTS:
        used = [
            name
            for name in filter(None, names.split(", "))
            if re.search(rf"\b{name.split()[-1]}\b", source)
        ]
        if used or not module:
            lines.append(f"from {module} import {', '.join(used)}" if module else "")
    return "\n".join(lines)


def _classes(config: ModelConfig) -> str:
    creates = [c for c in config.columns if c.writable and not c.identity]
    updates = [c for c in config.columns if updatable(config, c)]
    reads = config.visible_columns
    return "\n\n".join(
        [
            _class(config, "Create", "InputDTO", f"A new {config.name}.", map(_create, creates)),
            _class(
                config, "Update", "InputDTO", f"Changes to a {config.name}.", map(_update, updates)
            ),
            _class(config, "Read", "DTO", config.comment or f"A {config.name}.", map(_read, reads)),
        ]
    )


def _class(config: ModelConfig, suffix: str, base: str, doc: str, fields: Iterable[str]) -> str:
    mark = f"{WRITTEN_FOR}: ClassVar = ({config.name!r}, {fingerprint(config)!r})"
    lines = [_docstring(doc), "", mark.replace("'", '"'), "", *fields]
    body = textwrap.indent("\n".join(lines), "    ")
    return f"class {config.name}{suffix}({base}):\n{body}\n"


def _docstring(text: str) -> str:
    return '"""' + text.replace("\\", "\\\\").replace('"""', '\\"\\"\\"').rstrip('"') + '"""'


def _create(column: ColumnConfig) -> str:
    annotation = _input(column.type) + (" | None" if column.nullable else "")
    default = column.default
    if default is not None and default.kind == "literal":
        value = _value(default.value)
        if isinstance(default.value, dict | list):
            factory = f"lambda: {value}" if default.value else type(default.value).__name__
            return _field(column, annotation, f"default_factory={factory}")
        return _field(column, annotation, f"default={value}")
    if column.nullable:
        return _field(column, annotation, "default=None")
    if column.optional:
        return _field(column, annotation, "default=LEFT_OUT", "json_schema_extra=without_default")
    return _field(column, annotation)


def _update(column: ColumnConfig) -> str:
    none = " | None" if column.nullable else ""
    annotation = _input(column.type) + none
    return _field(column, annotation, "default=LEFT_OUT", "json_schema_extra=without_default")


def _read(column: ColumnConfig) -> str:
    none = " | None" if column.nullable else ""
    return _field(column, _output(column.type) + none)


def _field(column: ColumnConfig, annotation: str, *options: str) -> str:
    described = f"description={_text(column.comment)}" if column.comment else ""
    arguments = ", ".join(part for part in (*options, described) if part)
    line = f"{column.name}: {annotation}" + (f" = Field({arguments})" if arguments else "")
    if len(line) <= _LINE:
        return line
    # As a formatter would break it.
    rows = "".join(f"\n    {part}," for part in (*options, described) if part)
    return f"{column.name}: {annotation} = Field({rows}\n)"


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # JSON's escapes are Python's too


def _labels(column_type: ColumnType) -> str:
    return f"Literal[{', '.join(map(_text, column_type.labels))}]"


def _input(column_type: ColumnType) -> str:
    if column_type.kind == "Enum":
        return _labels(column_type)
    if column_type.item is not None:
        return f"Annotated[list[{_input(column_type.item)}], StrictList()]"
    sizes = [column_type.length or column_type.precision, column_type.scale]
    while sizes and sizes[-1] is None:
        sizes.pop()
    rule = ", ".join([f'"{column_type.kind}"', *map(str, sizes)])
    return f"Annotated[{_SOURCES[column_type.kind]}, Rule({rule})]"


def _output(column_type: ColumnType) -> str:
    if column_type.kind == "Enum":
        return _labels(column_type)
    if column_type.item is not None:
        return f"list[{_output(column_type.item)}]"
    if column_type.kind == "Binary":
        return 'Annotated[bytes, Rule("Binary")]'
    return _SOURCES[column_type.kind]


def _value(value: Any) -> str:  # noqa: PLR0911 - one line for each type
    """A literal default as an expression."""
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, float) and value - value != 0:  # infinite, or not a number
        return f'float("{value}")'
    if isinstance(value, datetime | date | time):
        kind = {"datetime": "DateTime", "date": "Date", "time": "Time"}[type(value).__name__]
        return f'{kind}.fromisoformat("{value.isoformat()}")'
    if isinstance(value, timedelta):
        return f"TimeDelta({value.days}, {value.seconds}, {value.microseconds})"
    if isinstance(value, Decimal | UUID):
        return f'{type(value).__name__}("{value}")'
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_text(k)}: {_value(v)}" for k, v in value.items()) + "}"
    return repr(value)
