"""Which fields an element of a PMML document can see, and their columns."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from repertory.errors import ModelRejected
from repertory.models.pmml.arithmetic import Arithmetic
from repertory.models.pmml.columns import Column
from repertory.models.pmml.dictionary import Dictionary
from repertory.models.pmml.target import TargetField
from repertory.models.pmml.xml import At, Element, place

Thunk = Callable[[], Column]


# More calls than any real document makes: a guard against functions that call each other twice over,
# level upon level.
_MOST_CALLS: Final = 20_000


@dataclass(slots=True)
class Context:
    """What is the same everywhere in a document.

    `unchecked` are the input fields whose invalid values reach the model as they are.
    """

    graph: Arithmetic
    dictionary: Dictionary
    functions: dict[str, Element] = field(default_factory=dict)  # <DefineFunction> by name
    unchecked: frozenset[str] = frozenset()
    calls: int = 0

    def count_call(self) -> None:
        """Count a call of a defined function. Raises ModelRejected when there are too many."""
        self.calls += 1
        if self.calls > _MOST_CALLS:
            raise ModelRejected(f"its functions expand to more than {_MOST_CALLS} calls")


@dataclass(slots=True)
class Scope:
    """The fields that are visible at one place of the document.

    A field is computed when it is first asked for, so what is declared and never used costs
    nothing and need not be understood.
    """

    context: Context
    target: TargetField | None = None
    parent: "Scope | None" = None
    _thunks: dict[str, Thunk] = field(default_factory=dict)
    _columns: dict[str, Column] = field(default_factory=dict)
    _busy: set[str] = field(default_factory=set)

    @property
    def graph(self) -> Arithmetic:
        """The graph under construction."""
        return self.context.graph

    def inner(self) -> "Scope":
        """Return a scope that sees what this one sees, and declares fields of its own."""
        return Scope(self.context, self.target, self)

    def declare(self, name: str, thunk: Thunk) -> None:
        """Make a field visible here; it hides one of that name further out."""
        self._thunks[name] = thunk
        self._columns.pop(name, None)

    def sees(self, name: str) -> bool:
        """Tell whether a field of that name is visible."""
        return name in self._thunks or (self.parent is not None and self.parent.sees(name))

    def column(self, name: str, at: At) -> Column:
        """Return a field's column. Raises ModelRejected when there is none of that name."""
        if name in self._columns:
            return self._columns[name]
        if name not in self._thunks or name in self._busy:
            return self._from_outside(name, at)
        self._busy.add(name)
        try:
            self._columns[name] = self._thunks[name]()
        finally:
            self._busy.discard(name)
        return self._columns[name]

    def _from_outside(self, name: str, at: At) -> Column:
        if self.parent is not None:
            return self.parent.column(name, at)
        if name in self._busy:
            raise ModelRejected(f"{place(at)}: the field {name!r} depends on itself")
        raise ModelRejected(
            f"{place(at)}: there is no field {name!r} here: it is neither an active <MiningField>"
            " nor derived"
        )
