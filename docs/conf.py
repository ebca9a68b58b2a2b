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

PARTS: Final = {
    "app": "Timber",
    "services": "Services",
    "dto": "DTOs",
    "repository": "Repositories",
    "database": "Database and units of work",
    "context": "Actor and deadline",
    "models": "Models",
    "features": "Features",
    "cache": "Caching",
    "settings": "Settings",
    "errors": "Errors",
}
"""Rooms of the package and what their page is called, in the order of the navigation."""
MODULES: Final = {
    "timber.integrations.fastapi": "FastAPI",
    "timber.integrations.aiohttp": "aiohttp",
    "timber.integrations.opentelemetry": "OpenTelemetry",
    "timber.integrations.prometheus": "Prometheus",
    "timber.testing": "Testing",
}
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
        groups["Reference"] = [f"reference/{name}" for name in (*PARTS, *map(_page_of, MODULES))]
        source[0] += "".join(_toctree(caption, pages) for caption, pages in groups.items())


def _page_of(module: str) -> str:
    return module.removeprefix("timber.").replace(".", "-")


def _write_reference(_app: Sphinx) -> None:
    """A page for each room with what is public of it, and one for each further module."""
    shutil.rmtree(REFERENCE, ignore_errors=True)
    REFERENCE.mkdir()
    written: set[int] = set()
    timber = import_module("timber")
    names: dict[str, list[str]] = {part: [] for part in PARTS}
    for name in timber.__all__:
        module = getattr(timber, name).__module__
        # What is an alias belongs to typing; there is one, and it is that of errors.
        names[module.split(".")[1] if module.startswith("timber.") else "errors"].append(name)
    for part, title in PARTS.items():
        _write(part, title, "timber", names[part], written)
    for module, title in MODULES.items():
        _write(_page_of(module), title, module, _public(module), written)


def _public(module: str) -> list[str]:
    found = vars(import_module(module))
    own = [
        name
        for name, value in found.items()
        if not name.startswith("_") and getattr(value, "__module__", "") == module
    ]
    return found.get("__all__") or own


def _write(page: str, title: str, module: str, names: list[str], written: set[int]) -> None:
    lines = [title, "=" * len(title), "", f".. currentmodule:: {module}", ""]
    for name in sorted(names, key=lambda name: _place(getattr(import_module(module), name))):
        value: Any = getattr(import_module(module), name)
        if isclass(value) or isfunction(value):
            lines.append(f".. auto{'class' if isclass(value) else 'function'}:: {name}")
        else:
            lines += [f".. autodata:: {_home(name, value)}.{name}", "   :no-value:"]
        if id(value) in written:
            lines.append("   :no-index:")  # two modules offer it
        written.add(id(value))
        if name in _WITH_INHERITED:
            lines.append("   :inherited-members:")
        if _has_fields(value):
            lines.append("   :undoc-members:")
        lines.append("")
    (REFERENCE / f"{page}.rst").write_text("\n".join(lines), encoding="utf-8")


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


def _place(value: Any) -> tuple[bool, str]:
    """First what does something, then what is only there; each by the modules it comes from."""
    return _has_fields(value), getattr(value, "__module__", "")


def _leave_out_fields(
    _app: Sphinx, _what: str, _name: str, value: Any, _options: Any, *signature: str | None
) -> tuple[str | None, ...] | None:
    """Whatever has fields shows them below, and not in its signature once more."""
    return ("", signature[1]) if _has_fields(value) else None


def _read_docstrings(app: Sphinx) -> None:
    """Have Google's style be read where there are sections: a sentence with a colon about an attribute has none."""
    event = "autodoc-process-docstring"
    [listener] = [
        listener
        for listener in app.events.listeners[event]
        if listener.handler.__module__ == "sphinx.ext.napoleon"
    ]
    app.disconnect(listener.id)

    def read(app: Sphinx, what: str, name: str, *about: Any) -> None:
        lines: list[str] = about[-1]
        if what not in {"attribute", "data", "property"}:
            listener.handler(app, what, name, *about)
        elif name.startswith(SETTINGS):
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
