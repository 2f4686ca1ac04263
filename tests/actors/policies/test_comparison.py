"""Each pair of slots is compared on what both scored, and nothing is kept for long."""

from collections import Counter
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.actors.policies.worlds import (
    FAILURE,
    NOT_ASKED,
    WAITING,
    Cell,
    Said,
    Table,
    answer_of,
    columns_of,
)
from tests.actors.replicas import part

from repertory.actors.batch import ModelRef, ScoredColumns
from repertory.actors.merged_answers import merge
from repertory.actors.policies.comparison import (
    MOST_BYTES,
    MOST_OPEN,
    PATIENCE,
    Comparison,
    merged,
)
from repertory.actors.policies.pair import MINUTES, MOST_LABELS, OTHERS

SLOTS, TOLERANCE = ("forest", "tree", "mlp"), 0.5
EPOCH = 1_700_000_040.0  # a minute begins
NOW = int(EPOCH * 1000) + 3000
LABELS = st.builds(Said, st.sampled_from(["a", "b", "c"]), st.sampled_from([0.25, 0.5, 1.0]))
VALUES = st.builds(Said, st.sampled_from([0.0, 0.25, 0.5, 1.0, 3.0]))


@dataclass
class Clock:
    """Time that passes when it is told to."""

    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@dataclass
class World:
    """A comparison, and its time."""

    clock: Clock = field(default_factory=Clock)
    number: int = 0

    def __post_init__(self) -> None:
        self.comparison = Comparison(
            SLOTS, tolerance=TOLERANCE, clock=self.clock, wall=lambda: EPOCH + self.clock.now - 100
        )

    def play(self, table: Table) -> None:
        """Have slots say what a table has; those that wait say nothing."""
        self.number += 1
        asked = np.array([[cell != NOT_ASKED for cell in row] for row in table])
        self.comparison.begin(self.number, len(table[0]), asked)
        for slot, row in enumerate(table):
            if WAITING not in row and asked[slot].any():
                answer = answer_of(row)
                self.comparison.arrived(self.number, slot, answer.columns, answer.rows)

    def pair(self, one: str = "forest", other: str = "tree") -> dict[str, Any]:
        """Return what is told of a pair."""
        pairs = self.comparison.as_json()["pairs"]
        return next(each for each in pairs if each["slots"] == [one, other])


@st.composite
def tables(draw: st.DrawFn) -> Table:
    """Draw what three slots say of a batch, in labels or in values."""
    said = draw(st.sampled_from([LABELS, VALUES]))
    count = draw(st.integers(1, 6))
    cell = st.one_of(said, said, st.sampled_from([FAILURE, NOT_ASKED]))
    row: st.SearchStrategy[list[Cell]] = st.lists(cell, min_size=count, max_size=count)
    silent: st.SearchStrategy[list[Cell]] = st.just([WAITING] * count)
    return [draw(st.one_of(row, row, silent)) for _ in SLOTS]


def both_said(batches: list[Table], one: int, other: int) -> list[tuple[Said, Said]]:
    """Return what two slots say of the records that both scored."""
    return [
        (mine, theirs)
        for table in batches
        for mine, theirs in zip(table[one], table[other], strict=True)
        if isinstance(mine, Said) and isinstance(theirs, Said)
    ]


def agree(one: Said, other: Said) -> bool:
    if isinstance(one.score, float) and isinstance(other.score, float):
        return abs(one.score - other.score) <= TOLERANCE
    return one.score == other.score


def played(batches: list[Table]) -> World:
    world = World()
    for table in batches:
        world.play(table)
    world.clock.now += PATIENCE
    world.comparison.expire()
    return world


@given(st.lists(tables(), max_size=6))
def test_pairs_are_counted_as_a_plain_loop_counts_them(batches: list[Table]) -> None:
    world = played(batches)
    assert len(world.comparison) == 0
    for one, other in combinations(range(3), 2):
        both = both_said(batches, one, other)
        pair = world.pair(SLOTS[one], SLOTS[other])
        assert pair["records"] == len(both)
        assert pair["agreements"] == sum(agree(*each) for each in both)
        minutes = pair["disagreement"]["minutes"]
        assert sum(each["disagreements"] for each in minutes) == len(both) - pair["agreements"]


@given(st.lists(tables(), max_size=6))
def test_labels_are_counted_against_labels(batches: list[Table]) -> None:
    world = played(batches)
    for one, other in combinations(range(3), 2):
        both = both_said(batches, one, other)
        labels = [(a.score, b.score) for a, b in both if isinstance(a.score, str)]
        confusion = world.pair(SLOTS[one], SLOTS[other]).get("confusion", {})
        flat = {(a, b): n for a, row in confusion.items() for b, n in row.items()}
        assert flat == dict(Counter(labels))


@given(st.lists(st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=6), min_size=1))
def test_values_differ_by_so_much(batches: list[list[tuple[Said, Said]]]) -> None:
    world = World()
    for batch in batches:
        world.play([[a for a, _ in batch], [b for _, b in batch], [NOT_ASKED] * len(batch)])
    signed = [float(b.score) - float(a.score) for batch in batches for a, b in batch]
    differences = world.pair()["differences"]
    assert differences["of"] == "values"
    assert differences["signedMean"] == pytest.approx(np.mean(signed))
    assert differences["mean"] == pytest.approx(np.mean(np.abs(signed)))
    assert differences["max"] == np.abs(signed).max()


@given(st.lists(st.tuples(LABELS, LABELS), min_size=1, max_size=8))
def test_probabilities_differ_by_their_total_variation(batch: list[tuple[Said, Said]]) -> None:
    world = World()
    world.play([[a for a, _ in batch], [b for _, b in batch], [NOT_ASKED] * len(batch)])
    differences = world.pair()["differences"]
    apart = [_variation(a, b) for a, b in batch]
    assert differences["of"] == "probabilities"
    assert differences["mean"] == pytest.approx(np.mean(apart))
    assert differences["max"] == max(apart)


def _variation(one: Said, other: Said) -> float:
    # The models of these tests give each other label 0.
    mine, theirs = one.confidence or 0.0, other.confidence or 0.0
    return (abs(mine - theirs) if one.score == other.score else mine + theirs) / 2


@given(st.lists(tables(), max_size=6), st.integers(0, 6))
def test_merging_two_halves_gives_the_whole(batches: list[Table], cut: int) -> None:
    whole = played(batches).comparison.as_json()["pairs"]
    halves = played(batches[:cut]).comparison, played(batches[cut:]).comparison
    both = merged(*halves)
    for found, pair in zip(both.as_json()["pairs"], whole, strict=True):
        differences = pair.pop("differences")
        assert found.pop("differences") == (differences and pytest.approx(differences))
        assert found == pair


def answer(comparison: Comparison, version: int = 9) -> dict[str, Any]:
    """Return what a policy actor answers to a router that merges."""
    told = {"dataType": "wine", "policy": "majority", "version": version, **comparison.as_json()}
    return {**told, "sketches": comparison.sketches(), "pid": 7}


@given(st.lists(tables(), max_size=6), st.integers(0, 6))
def test_what_two_nodes_answer_is_what_one_would(batches: list[Table], cut: int) -> None:
    whole = played(batches).comparison
    halves = [answer(played(each).comparison) for each in (batches[:cut], batches[cut:])]
    parts = [part(node, half, at=NOW) for node, half in zip("ab", halves, strict=True)]
    told = merge("comparison", parts)
    assert told["replicas"] == {node: {"version": 9, "pid": 7} for node in "ab"}
    for found, pair in zip(told["pairs"], whole.as_json()["pairs"], strict=True):
        differences = pair.pop("differences")
        assert found.pop("differences") == (differences and pytest.approx(differences))
        assert found == pair


def test_one_node_alone_answers_as_ever(world: World) -> None:
    world.play([[Said("a")], [Said("b")], [NOT_ASKED]])
    told = merge("comparison", [part("a", answer(world.comparison))])
    plain = {"dataType": "wine", "policy": "majority", "version": 9, **world.comparison.as_json()}
    assert orjson.dumps(told) == orjson.dumps({**plain, "asOf": told["asOf"]})


def test_only_what_was_compared_under_the_newest_policy_is_told(world: World) -> None:
    world.play([[Said("a")], [Said("b")], [NOT_ASKED]])
    older, newer = answer(Comparison(["oak", "elm"]), 4), answer(world.comparison, 9)
    told = merge("comparison", [part("a", older), part("b", newer)])
    assert (told["version"], len(told["pairs"]), told["replicas"]["a"]["version"]) == (9, 3, 4)


def test_a_policy_of_one_slot_has_no_pairs_on_several_nodes_either() -> None:
    none = {"dataType": "wine", "policy": "latest", "version": 9, "pairs": [], "sketches": []}
    gone = part("b", none, gone=NOW)
    told = merge("comparison", [part("a", none), gone])
    assert (told["pairs"], told["stale"]) == ([], True)


def test_other_slots_are_not_merged() -> None:
    with pytest.raises(ValueError, match="cannot be merged"):
        merged(Comparison(["forest", "tree"]), Comparison(["forest", "mlp"]))


@pytest.fixture
def world() -> World:
    return World()


def everybody(count: int = 1) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    return np.ones((len(SLOTS), count), np.bool_)


def test_before_the_first_record_there_is_no_rate(world: World) -> None:
    assert world.pair() == {
        "slots": ["forest", "tree"],
        "records": 0,
        "agreements": 0,
        "agreementRate": None,
        "differences": None,
        "disagreement": {"last5m": None, "minutes": []},
    }


def test_a_batch_is_compared_when_the_last_has_answered_or_failed(world: World) -> None:
    world.comparison.begin(1, 1, everybody())
    for slot in (1, 0):
        world.comparison.arrived(1, slot, columns_of([Said("a")]), None)
    assert (len(world.comparison), world.pair()["records"]) == (1, 0)
    world.comparison.failed(1, 2)
    assert (len(world.comparison), world.pair()["records"]) == (0, 1)


def test_a_slot_that_hangs_is_waited_for_only_so_long(world: World) -> None:
    world.play([[Said("a")], [Said("b")], [WAITING]])
    world.clock.now += PATIENCE - 0.1
    world.comparison.expire()
    assert world.pair()["records"] == 0
    world.clock.now += 0.1
    world.comparison.expire()
    assert (world.pair()["records"], world.pair()["agreements"]) == (1, 0)
    world.comparison.arrived(1, 2, columns_of([Said("a")]), None)
    assert world.pair("tree", "mlp")["records"] == 0


def test_what_is_said_twice_counts_once(world: World) -> None:
    world.comparison.begin(1, 1, everybody())
    for slot in (0, 0, 1, 1, 2, 2):
        world.comparison.arrived(1, slot, columns_of([Said("a")]), None)
        world.comparison.failed(1, slot)
    assert world.pair()["records"] == 1


def test_a_batch_that_one_slot_gets_is_not_kept(world: World) -> None:
    asked = everybody()
    asked[1:] = False
    world.comparison.begin(1, 1, asked)
    assert len(world.comparison) == 0


def test_only_so_many_batches_are_kept(world: World) -> None:
    for _ in range(MOST_OPEN + 10):
        world.play([[Said("a")], [Said("a")], [WAITING]])
    assert (len(world.comparison), world.pair()["records"]) == (MOST_OPEN, 10)


def test_only_so_many_bytes_are_kept(world: World) -> None:
    rows, labels = 1000, tuple(map(str, range(1000)))
    probabilities = np.full((rows, len(labels)), 1 / len(labels))
    chosen, model = np.zeros(rows, np.int32), ModelRef("m", 1, "")
    columns = ScoredColumns(model, rows, None, labels, chosen, probabilities, {})
    for number in range(20):
        world.comparison.begin(number, rows, everybody(rows))
        world.comparison.arrived(number, 0, columns, None)
    assert 1 <= len(world.comparison) <= MOST_BYTES / probabilities.nbytes


def test_a_number_and_a_label_never_agree(world: World) -> None:
    world.play([[Said("1")], [Said(1.0)], [WAITING]])
    world.comparison.failed(1, 2)
    assert (world.pair()["records"], world.pair()["agreements"]) == (1, 0)


def test_infinite_values_agree_with_themselves_and_differ_by_nothing_finite(world: World) -> None:
    inf = Said(float("inf"))
    world.play([[inf, inf, Said(1.0)], [inf, Said(1.0), Said(2.0)], [NOT_ASKED] * 3])
    pair = world.pair()
    assert (pair["records"], pair["agreements"], pair["differences"]["max"]) == (3, 1, 1.0)


def test_models_may_know_different_labels_in_any_order(world: World) -> None:
    model = ModelRef("m", 1, "")
    one = ScoredColumns(
        model, 2, None, ("a", "b"), np.array([0, 1], np.int32), np.array([[0.9, 0.1], [0, 1]]), {}
    )
    other = ScoredColumns(
        model, 2, None, ("c", "a"), np.array([1, 0], np.int32), np.array([[0.3, 0.7], [1, 0]]), {}
    )
    world.comparison.begin(1, 2, everybody(2))
    world.comparison.arrived(1, 0, one, None)
    world.comparison.arrived(1, 1, other, None)
    world.comparison.failed(1, 2)
    pair = world.pair()
    assert pair["confusion"] == {"a": {"a": 1}, "b": {"c": 1}}
    assert pair["differences"]["mean"] == pytest.approx((0.3 + 1) / 2)


def test_of_very_many_probabilities_a_part_stands_for_all(world: World) -> None:
    rows, labels = 1024, tuple(map(str, range(1000)))
    chosen, model = np.zeros(rows, np.int32), ModelRef("m", 1, "")
    one, other = np.zeros((2, rows, len(labels)))
    one[:, 0] = 1
    other[:, 0], other[:, 1] = 0.75, 0.25
    world.comparison.begin(1, rows, everybody(rows))
    for slot, probabilities in enumerate((one, other, other)):
        columns = ScoredColumns(model, rows, None, labels, chosen, probabilities, {})
        world.comparison.arrived(1, slot, columns, None)
    pair = world.pair()
    assert (pair["records"], pair["agreements"]) == (rows, rows)
    assert pair["differences"]["mean"] == pair["differences"]["max"] == 0.25


def test_too_many_labels_are_counted_together(world: World) -> None:
    for number in range(MOST_LABELS + 20):
        world.play([[Said(f"l{number}")], [Said("a")], [NOT_ASKED]])
    confusion = world.pair()["confusion"]
    assert len(confusion) == MOST_LABELS + 1
    assert confusion[OTHERS] == {"a": 20}
    assert world.pair()["agreements"] == 0


def test_disagreements_are_told_by_minute_and_of_late(world: World) -> None:
    differ: Table = [[Said("a")], [Said("b")], [NOT_ASKED]]
    same: Table = [[Said("a")], [Said("a")], [NOT_ASKED]]
    world.play(differ)
    world.clock.now += 10 * 60
    for table in (same, same, same, differ):
        world.play(table)
    told = world.pair()["disagreement"]
    assert told["last5m"] == 0.25
    assert told["minutes"] == [
        {"at": EPOCH * 1000, "records": 1, "disagreements": 1},
        {"at": (EPOCH + 600) * 1000, "records": 4, "disagreements": 1},
    ]


def test_minutes_are_forgotten_after_an_hour(world: World) -> None:
    for _ in range(3 * MINUTES):
        world.play([[Said("a")], [Said("b")], [NOT_ASKED]])
        world.clock.now += 60
    world.clock.now += 30 * 60
    told = world.pair()["disagreement"]
    assert (len(told["minutes"]), told["last5m"]) == (29, None)
