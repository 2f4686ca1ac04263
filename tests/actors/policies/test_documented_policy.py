"""The policy that docs/rendezvous.md has users write does what the page says."""

import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.actors.policies.worlds import WAITING, Said, Table, answers_of, tables

from repertory.actors.policies.answers import NOBODY
from repertory.actors.policies.guard import Guard
from repertory.actors.policies.settings import PolicySettings

PAGE = Path(__file__).parents[3] / "docs" / "rendezvous.md"
LABELS = st.builds(Said, st.sampled_from("ab"))


def documented() -> Any:
    """Return the module that is printed on the page."""
    [code] = re.findall(r'```python\n("""`referee`.*?)```', PAGE.read_text(), re.DOTALL)
    module = ModuleType("wine_policies")
    exec(code, vars(module))  # noqa: S102 - our own page
    return module


EXAMPLE = documented()


def chosen(table: Table, record: int) -> tuple[int, bool]:
    """Return whom a record's answer is of, and whether that is a fallback, told plainly."""
    said = [row[record] for row in table]
    has_score = [isinstance(cell, Said) for cell in said]
    first, second, third = said
    if has_score[0] and has_score[1] and first == second:
        return 0, False
    if WAITING in (first, second, third):
        return NOBODY, False
    if has_score[2]:
        return 2, False
    return (has_score.index(True), True) if any(has_score) else (NOBODY, False)


@given(tables(LABELS, slots=3))
def test_the_referee_is_asked_where_two_do_not_agree(table: Table) -> None:
    guard = Guard(EXAMPLE.Referee(), slots=3)
    choice = guard.choose(answers_of(table))
    assert guard.trouble is None
    told = list(zip(choice.slots.tolist(), choice.fallback.tolist(), strict=True))
    assert told == [chosen(table, record) for record in range(len(table[0]))]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"slots": ("mlp", "tree")}, "slots: three are to be named"),
        ({"slots": ("a", "b", "c"), "options": {"x": 1}}, "options: there are none, not x"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EXAMPLE.referee(PolicySettings(policy="referee", **settings))
