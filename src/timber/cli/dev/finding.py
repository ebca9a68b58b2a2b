"""Where the application of a folder is, found by reading and not by running it."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Final, NamedTuple

from timber.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_FILES: Final = ("app.py", "main.py", "api.py", "server.py", "asgi.py")
_FACTORIES: Final = ("create_app", "make_app", "build_app")
_OBJECTS: Final = ("app", "application", "api")


class Place(NamedTuple):
    """An application: a module that can be imported from ``directory``, and a name in it."""

    directory: Path
    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}:{self.name}"


def find_app(root: Path, given: str | None = None) -> Place:
    """The application that is named as ``package.module:name``, or the one of a folder.

    Raises:
        ConfigurationError: there is none, or several, or the name does not read like that.
    """
    if given is not None:
        module, colon, name = given.partition(":")
        if (
            not colon
            or not name.isidentifier()
            or not all(map(str.isidentifier, module.split(".")))
        ):
            raise ConfigurationError(f"{given!r} does not read like package.module:name.")
        in_src = (root / "src" / module.partition(".")[0]).exists()
        return Place(root / "src" if in_src else root, module, name)
    found = list(_candidates(root))
    if not found:
        raise ConfigurationError(
            f"No application was found in {root}: name it, as in `timber dev package.module:name`. Looked for "
            f"{', '.join(_FACTORIES + _OBJECTS)} in {', '.join(_FILES)} here, in packages below, and in src/."
        )
    if len(found) > 1:
        raise ConfigurationError(
            f"Several applications were found: {', '.join(map(str, found))}. Say which: `timber dev {found[0]}`."
        )
    return found[0]


def _candidates(root: Path) -> Iterator[Place]:
    for directory in (root, root / "src"):
        folders = sorted(
            p.parent for p in directory.glob("*/__init__.py") if p.parent.name != "tests"
        )
        for folder in (directory, *folders):
            for file in _FILES:
                name = _app_in(folder / file)
                if name is not None:
                    path = (folder / file).relative_to(directory).with_suffix("")
                    yield Place(directory, ".".join(path.parts), name)


def _app_in(path: Path) -> str | None:
    """The name of the application in a file: a function that makes it rather than one that is made already."""
    if not path.is_file():
        return None
    try:
        body = ast.parse(path.read_text(encoding="utf-8")).body
    except SyntaxError:
        return None
    functions = {node.name for node in body if isinstance(node, ast.FunctionDef)}
    assigned = {
        target.id
        for node in body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    }
    found = [
        *(name for name in _FACTORIES if name in functions),
        *(name for name in _OBJECTS if name in assigned),
    ]
    return found[0] if found else None
