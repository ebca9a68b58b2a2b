"""How a plan looks in a terminal: a tree, and what stands out in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from timber.cli.explain.asking import Explained

LARGE: Final = 1000
"""Rows from which on reading a whole table is worth a word; a smaller one is read whole whatever indexes there are."""

_CHOSEN: Final = frozenset({"Index Cond", "Order By"})
_CONDITIONS: Final = (
    "Index Cond",
    "Recheck Cond",
    "Filter",
    "Hash Cond",
    "Merge Cond",
    "Join Filter",
)


def show(explained: Explained, console: Console | None = None) -> None:
    """Print the tree of a plan, and what stands out."""
    console = console or Console(highlight=False)
    console.print(_tree(explained.plan.root))
    console.print()
    indexes = sorted(set(explained.plan.indexes))
    console.print(
        Text.assemble(("Indexes ", "bold"), (", ".join(indexes), "green"))
        if indexes
        else Text("No index is used.", style="bold")
    )
    for line in remarks(explained):
        console.print(Text.assemble(("! ", "yellow"), line))


def remarks(explained: Explained) -> Iterator[str]:
    """What stands out in a plan, and what to do about it."""
    for node in explained.plan.nodes():
        if node["Node Type"].removeprefix("Parallel ") == "Seq Scan":
            yield _of_a_scan(node, explained.rows.get(node["Relation Name"], 0))
        if "Index Name" in node and not _CHOSEN & set(node) and node["Node Type"] != "ModifyTable":
            rows = explained.rows.get(node.get("Relation Name", ""), 0)
            if rows >= LARGE:
                yield f"{node['Index Name']} is read from end to end, about {rows:,} rows: it serves no condition."
        if node.get("Sort Space Type") == "Disk":
            yield "It sorts on the disk: an index in this order, or a larger work_mem, would spare that."
        planned, actual = node.get("Plan Rows", 0), node.get("Actual Rows")
        if actual is not None and max(actual, 1) / max(planned, 1) > 100:
            yield (
                f"{_name(node)}: {planned:,.0f} rows were expected and {actual:,.0f} came. Statistics may be old: "
                f"ANALYZE {node.get('Relation Name', 'the tables')}."
            )


def _of_a_scan(node: dict[str, Any], rows: int) -> str:
    table = node["Relation Name"]
    if rows < LARGE:
        return (
            f"{table} has about {rows:,} rows and is read whole, as any table of this size; --as-if-large shows which index "
            "would serve a large one."
        )
    if "Filter" not in node:
        return f"All of the about {rows:,} rows of {table} are read; nothing narrows them."
    return (
        f"All of the about {rows:,} rows of {table} are read to find some: no index serves {node['Filter']}. "
        "Add one to the model, or another condition that has one."
    )


def _tree(node: dict[str, Any]) -> Tree:
    tree = Tree(_title(node), guide_style="dim")
    pending = [(node, tree)]
    while pending:
        above, branch = pending.pop()
        below = above.get("Plans", ())
        pending += [(child, branch.add(_title(child))) for child in below]
    return tree


def _title(node: dict[str, Any]) -> Text:
    whole = node["Node Type"].endswith("Seq Scan")
    title = Text.assemble((_name(node), "bold yellow" if whole else "bold"))
    if "Index Name" in node:
        title.append(f" using {node['Index Name']}", style="green")
    rows = f"  {node['Plan Rows']:,.0f} rows"
    if "Actual Rows" in node:
        rows += f" expected, {node['Actual Rows'] * node.get('Actual Loops', 1):,.0f} came"
        rows += f" in {node['Actual Total Time'] * node.get('Actual Loops', 1):,.2f} ms"
    title.append(f"{rows}, cost {node['Total Cost']:,.0f}", style="dim")
    for name in _CONDITIONS:
        if name in node:
            title.append(f"\n{name.lower()}: {node[name]}", style="cyan")
    if "Sort Key" in node:
        title.append(f"\nby {', '.join(node['Sort Key'])}", style="cyan")
    return title


def _name(node: dict[str, Any]) -> str:
    name = str(node["Node Type"])
    return f"{name} on {node['Relation Name']}" if "Relation Name" in node else name
