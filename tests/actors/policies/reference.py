"""The policies, record by record, as plainly as they can be said: what the fast ones must equal."""

import math

from tests.actors.policies.worlds import WAITING, Cell, Said, Table

from repertory.actors.policies.answers import NOBODY


def said(cells: list[Cell]) -> list[tuple[int, Said]]:
    """Return who says something of a record, by rank."""
    return [(rank, cell) for rank, cell in enumerate(cells) if isinstance(cell, Said)]


def records(table: Table) -> list[list[Cell]]:
    """Return a table by record."""
    return [list(cells) for cells in zip(*table, strict=True)]


def best(cells: list[Cell]) -> int:
    """Return the best-ranked slot that has a score; NOBODY if a better one is waited for."""
    for rank, cell in enumerate(cells):
        if cell == WAITING:
            return NOBODY
        if isinstance(cell, Said):
            return rank
    return NOBODY


def most_said(cells: list[Cell]) -> str:
    """Return the label that most say; of equals, that of the best-ranked voter."""
    labels = [each.score for _, each in said(cells)]
    return str(max(labels, key=labels.count))  # the first of equals


def median(cells: list[Cell]) -> int:
    """Return who says the median; of two, the better-ranked."""
    ordered = sorted((each.score, rank) for rank, each in said(cells))
    middle = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    return min(rank for _, rank in middle)


def sureness(cell: Said, output: str | None = None) -> float | None:
    """Return how sure a slot says it is by the named output, or by what it has; None if it does not."""
    beside = dict(cell.beside)
    if output is None:
        beside.setdefault("Confidence", math.nan if cell.confidence is None else cell.confidence)
    stated = beside.get(output or "Confidence", math.nan)
    if math.isnan(stated):
        return None
    return stated if output else min(max(stated, 0.0), 1.0)


def surest(cells: list[Cell], outputs: list[str | None] | None = None) -> int:
    """Return who is surest; of equals the best-ranked, and by rank if nobody says how sure."""
    outputs = outputs or [None] * len(cells)
    stated = [(rank, sureness(cell, outputs[rank])) for rank, cell in said(cells)]
    sure = [(rank, confidence) for rank, confidence in stated if confidence is not None]
    if not sure:
        return best(cells)
    return max(sure, key=lambda pair: (pair[1], -pair[0]))[0]


def later(cells: list[Cell], come: list[Cell]) -> list[Cell]:
    """Return what a record's slots say once those that are waited for have said `come`."""
    return [new if cell == WAITING else cell for cell, new in zip(cells, come, strict=True)]
