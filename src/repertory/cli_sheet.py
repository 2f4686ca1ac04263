"""A table of texts, printed whole for files and fitted into a terminal for people who watch."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from repertory.cli_tables import GAP, echo_table

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True, slots=True)
class Sheet:
    """Rows below a header. `numbers` are aligned to the right; `spare` columns go first, in order.

    A row without a colour of its own has None.
    """

    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    colours: Sequence[str | None]
    numbers: Collection[str] = ()
    spare: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        """Return how many characters its lines take."""
        columns = zip(self.header, *self.rows, strict=True)
        return sum(max(map(len, column)) for column in columns) + len(GAP) * (len(self.header) - 1)

    def fitted(self, width: int) -> "Sheet":
        """Return it with as many columns as lines of this width hold."""
        sheet = self
        for column in self.spare:
            if sheet.width <= width:
                break
            sheet = sheet.without(column)
        return sheet

    def without(self, column: str) -> "Sheet":
        """Return it without one of its columns."""
        kept = [index for index, name in enumerate(self.header) if name != column]
        rows = [tuple(row[index] for index in kept) for row in self.rows]
        header = tuple(self.header[index] for index in kept)
        return Sheet(header, rows, self.colours, self.numbers, self.spare)

    def first(self, rows: int) -> "Sheet":
        """Return it with its first rows only."""
        return Sheet(self.header, self.rows[:rows], self.colours[:rows], self.numbers, self.spare)

    def echo(self) -> None:
        """Print it whole."""
        echo_table(self.header, self.rows, colours=self.colours, numbers=self.numbers)

    def as_table(self) -> "Table":
        """Return it for a terminal that is too narrow for the rest of it: cells are cut."""
        from rich.markup import escape
        from rich.table import Table

        table = Table(box=None, padding=(0, len(GAP), 0, 0), pad_edge=False, header_style="bold")
        for name in self.header:
            justify = "right" if name in self.numbers else "left"
            table.add_column(name, justify=justify, no_wrap=True, overflow="ellipsis")  # type: ignore[arg-type]
        for row, colour in zip(self.rows, self.colours, strict=True):
            table.add_row(*map(escape, row), style=colour)
        return table
