"""The site of these pages: ``nox -s site`` builds it. Its navigation is that of index.md, its reference comes from the package."""

from __future__ import annotations

import re
import shutil
import sys
from importlib import import_module, metadata
from inspect import isclass, isfunction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "Timber"
author = "The Timber authors"
html_show_copyright = False
release = metadata.version("timber-async")
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
toc_object_entries_show_parents = "hide"
myst_heading_anchors = 3
napoleon_use_ivar = True
default_role = "code"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
# A field called `type` would be taken for what every annotation `type[...]` speaks of.
autodoc_default_options = {"members": True, "exclude-members": "model_config, type"}
autodoc_class_signature = "mixed"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 80
add_module_names = False
copybutton_exclude = ".linenos, .gp, .go"

html_theme = "furo"
html_title = "Timber"
html_static_path = ["static"]
html_favicon = "static/logo.svg"
html_logo = "static/logo.svg"
html_css_files = ["site.css"]
html_theme_options = {
    "light_css_variables": {
        "color-brand-primary": "#7a4a21",
        "color-brand-content": "#8f4f14",
        "color-brand-visited": "#8f4f14",
        "color-api-name": "#7a4a21",
        "color-api-pre-name": "#7a4a21",
    },
    "dark_css_variables": {
        "color-brand-primary": "#e8c48f",
        "color-brand-content": "#e3a868",
        "color-brand-visited": "#e3a868",
        "color-api-name": "#e8c48f",
        "color-api-pre-name": "#e8c48f",
    },
}
html_copy_source = False
html_show_sphinx = False
pygments_style = "friendly"
pygments_dark_style = "github-dark"

FOLDER: Final = Path(__file__).parent
REFERENCE: Final = FOLDER / "reference"
_GROUP: Final = re.compile(
    r"^### (?P<caption>.+)$|^- \[[^\]]+\]\((?P<page>[^):]+)\.md\)", re.MULTILINE
)

PAGES: Final = {
    "Timber": ("timber.app",),
    "Services": ("timber.services",),
    "DTOs": ("timber.dto",),
    "Repositories": ("timber.repository",),
    "Database and units of work": ("timber.database",),
    "Actor and deadline": ("timber.context",),
    "Models": ("timber.models",),
    "Features": ("timber.features",),
    "Caching": (
        "timber.cache",
        "timber.cache.coherence.cache",
        "timber.cache.memory",
        "timber.cache.redis",
    ),
    "Encryption": ("timber.features.encryption",),
    "A person's data": ("timber.privacy.privacy",),
    "Audit": ("timber.features.audit",),
    "Migrations": ("timber.database.migrations.commands",),
    "FastAPI": ("timber.integrations.fastapi",),
    "aiohttp": ("timber.integrations.aiohttp",),
    "OpenTelemetry": ("timber.integrations.opentelemetry",),
    "Prometheus": ("timber.integrations.prometheus",),
    "Testing": ("timber.testing",),
    "Settings": ("timber.settings",),
    "Errors": ("timber.errors",),
}
"""The pages of the reference: of a room, what the package offers at its front door; of any other module, all of it."""
SETTINGS: Final = "timber.TimberSettings."
_WITH_INHERITED: Final = {"Service", "Repository", "UnitOfWork", "AsyncDatabaseManager"}


def navigation(index: str) -> dict[str, list[str]]:
    """The pages of each group, as the lists of index.md have them."""
    groups: dict[str, list[str]] = {}
    caption = ""
    for found in _GROUP.finditer(index):
        if found["caption"]:
            caption = found["caption"]
        elif caption:
            groups.setdefault(caption, []).append(found["page"])
    return groups


def _toctree(caption: str, pages: list[str]) -> str:
    listed = "\n".join(pages)
    return f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{listed}\n```\n"


def _add_navigation(_app: Sphinx, page: str, source: list[str]) -> None:
    if page == "index":
        groups = navigation(source[0])
        groups["Reference"] = [f"reference/{_page_of(title)}" for title in PAGES]
        source[0] += "".join(_toctree(caption, pages) for caption, pages in groups.items())


def _page_of(title: str) -> str:
    return title.lower().replace("'", "").replace(" ", "-")


def _write_reference(_app: Sphinx) -> None:
    """The pages of the reference, as files that have Sphinx read the docstrings."""
    shutil.rmtree(REFERENCE, ignore_errors=True)
    REFERENCE.mkdir()
    offered = _offered()
    written: set[int] = set()
    for title, modules in PAGES.items():
        names = [(module, name) for module in modules for name in _names(module, offered)]
        lines = [title, "=" * len(title), ""]
        for value, name in sorted(map(_found, names), key=_place):
            lines += [f".. currentmodule:: {name.rpartition('.')[0]}", "", *_entry(value, name)]
            if id(value) in written:
                lines.append("   :no-index:")  # two modules offer it
            written.add(id(value))
            lines.append("")
        text = "\n".join(lines)
        (REFERENCE / f"{_page_of(title)}.rst").write_text(text, encoding="utf-8")
    missing = set(offered) - {module for modules in PAGES.values() for module in modules}
    if missing:
        raise LookupError(f"{', '.join(missing)} has no page in the reference")


def _offered() -> dict[str, list[str]]:
    """What each room offers at the front door."""
    timber = import_module("timber")
    offered: dict[str, list[str]] = {}
    for name in timber.__all__:
        module = getattr(timber, name).__module__
        # What is an alias belongs to typing; there is one, and it is that of errors.
        room = module.split(".")[1] if module.startswith("timber.") else "errors"
        offered.setdefault(f"timber.{room}", []).append(name)
    return offered


def _names(module: str, offered: dict[str, list[str]]) -> list[str]:
    if module in offered:
        return offered[module]
    found = vars(import_module(module))
    own = [
        name
        for name, value in found.items()
        if not name.startswith("_") and getattr(value, "__module__", "") == module
    ]
    return found.get("__all__") or own


def _found(where: tuple[str, str]) -> tuple[Any, str]:
    """What is meant, and the name to call it by."""
    module, name = where
    timber = import_module("timber")
    door = "timber" if name in timber.__all__ and module.count(".") == 1 else module
    value: Any = getattr(import_module(door), name)
    if not (isclass(value) or isfunction(value)):
        door = _home(name, value)
    return value, f"{door}.{name}"


def _entry(value: Any, name: str) -> list[str]:
    if not (isclass(value) or isfunction(value)):
        return [f".. autodata:: {name}", "   :no-value:"]
    lines = [f".. auto{'class' if isclass(value) else 'function'}:: {name}"]
    if value.__name__ in _WITH_INHERITED:
        lines.append("   :inherited-members:")
    if _has_fields(value):
        lines.append("   :undoc-members:")
    return lines


def _home(name: str, value: Any) -> str:
    """The module where a name that is neither a class nor a function is explained."""
    from sphinx.pycode import ModuleAnalyzer  # noqa: PLC0415  # the tests read this file without Sphinx

    for module, found in sorted(sys.modules.items()):
        if not module.startswith("timber.") or vars(found).get(name) is not value:
            continue
        if ("", name) in ModuleAnalyzer.for_module(module).find_attr_docs():
            return module
    raise LookupError(f"{name} is explained nowhere")


def _has_fields(value: Any) -> bool:
    return isclass(value) and hasattr(value, "model_fields")


def _place(found: tuple[Any, str]) -> tuple[bool, str]:
    """First what does something, then what is only there; each by the modules it comes from."""
    return _has_fields(found[0]), getattr(found[0], "__module__", "")


def _leave_out_fields(
    _app: Sphinx, _what: str, _name: str, value: Any, _options: Any, *signature: str | None
) -> tuple[str | None, ...] | None:
    """Whatever has fields shows them below, and not in its signature once more."""
    return ("", signature[1]) if _has_fields(value) else None


def _read_docstrings(app: Sphinx) -> None:
    """Have what is said of an attribute read like the rest: what stands before a colon is no type."""
    event = "autodoc-process-docstring"
    [listener] = [
        listener
        for listener in app.events.listeners[event]
        if listener.handler.__module__ == "sphinx.ext.napoleon"
    ]
    app.disconnect(listener.id)

    def read(app: Sphinx, what: str, name: str, *about: Any) -> None:
        lines: list[str] = about[-1]
        is_value = what in {"attribute", "data", "property"}
        listener.handler(app, "method" if is_value else what, name, *about)
        if is_value and name.startswith(SETTINGS):
            fields = import_module("timber").TimberSettings.model_fields
            field = fields.get(name.removeprefix(SETTINGS))
            if field is not None:
                lines += ["", f"Default: ``{field.default!r}``"]

    app.connect(event, read)


def setup(app: Sphinx) -> None:
    """Have Sphinx call what stands above."""
    _read_docstrings(app)
    app.connect("builder-inited", _write_reference)
    app.connect("source-read", _add_navigation)
    app.connect("autodoc-process-signature", _leave_out_fields)
