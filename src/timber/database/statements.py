"""SQLAlchemy Core statements compiled once, to be sent on the driver's own connection."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import bindparam

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence

    from sqlalchemy import BindParameter, Executable
    from sqlalchemy.engine import Dialect

XID_COLUMN = "_xid"


class Statement:
    """SQL text with numbered parameters, and how to make its arguments from named values.

    Attributes:
        sql: the text.
        sql_with_xid: the same, returning the transaction's id as a last column ``_xid``; only where ``returning``. Made
            of the text where it ends with RETURNING.
        label: ``verb model``, for logs and metrics.
    """

    __slots__ = (
        "_defaults", "_names", "_processors", "label", "returning", "sql", "sql_with_xid",
    )  # fmt: skip

    def __init__(
        self,
        sql: str,
        *,
        label: str,
        binds: Sequence[tuple[str, Callable[[Any], Any] | None]] = (),
        defaults: Mapping[str, Any] | None = None,
        returning: bool = False,
        sql_with_xid: str | None = None,
    ) -> None:
        self.sql: str = sql
        self.label: str = label
        self.returning: bool = returning
        asking = f"{sql}, pg_current_xact_id() AS {XID_COLUMN}" if returning else sql
        self.sql_with_xid: str = sql_with_xid or asking
        self._names = [name for name, _ in binds]
        self._processors = [
            (place, process) for place, (_, process) in enumerate(binds) if process is not None
        ]
        self._defaults = dict(defaults or {})

    def bind(self, values: Mapping[str, Any]) -> list[Any]:
        """The arguments in their order, each through its type's bind processor."""
        defaults = self._defaults
        arguments = [values[name] if name in values else defaults[name] for name in self._names]
        for place, process in self._processors:
            arguments[place] = process(arguments[place])
        return arguments

    def __repr__(self) -> str:
        return f"<Statement {self.label}: {self.sql}>"


def compile_statement(
    statement: Executable, dialect: Dialect, *, label: str, expand: bool = False
) -> Statement:
    """Compile a Core statement for the driver.

    Args:
        expand: write out parameters without a fixed text (expanding IN, literal ones) with the values they have now. The
            result is good for this one execution only.
    """
    # String() of a compile is the only public way to the text; positiontup and the processors are what the
    # dialect's own execution context uses.
    compiled: Any = statement.compile(  # type: ignore[attr-defined]
        dialect=dialect, compile_kwargs={"render_postcompile": True} if expand else {}
    )
    if (compiled.post_compile_params or compiled.literal_execute_params) and not expand:
        raise TypeError(f"{label}: a parameter has no fixed text; use = ANY(:array)")
    processors = compiled._bind_processors
    names = compiled.positiontup or ()
    return Statement(
        compiled.string,
        label=label,
        binds=[(name, processors.get(name)) for name in names],
        defaults=dict(compiled.construct_params(_check=False)),
        returning=bool(getattr(statement, "_returning", ())) and not compiled.ctes,
    )


def parameter(name: str, type_: Any) -> BindParameter[Any]:
    """A named parameter whose value comes with each execution."""
    # Not required: expanding a caller's own parameters asks for the values of all.
    return bindparam(name, type_=type_, required=False)


class _HasShape(Protocol):
    def __call__(self) -> Statement: ...


class StatementCache:
    """Compiled statements by their shape, the longest unused dropped first."""

    __slots__ = ("_limit", "_statements")

    def __init__(self, limit: int = 512) -> None:
        self._limit = limit
        self._statements: OrderedDict[Hashable, Statement] = OrderedDict()

    def get(self, shape: Hashable, compile_now: _HasShape) -> Statement:
        """The statement of this shape, compiled at its first use."""
        statement = self._statements.get(shape)
        if statement is None:
            statement = compile_now()
            self._statements[shape] = statement
            if len(self._statements) > self._limit:
                self._statements.popitem(last=False)
        else:
            self._statements.move_to_end(shape)
        return statement

    def __len__(self) -> int:
        return len(self._statements)
