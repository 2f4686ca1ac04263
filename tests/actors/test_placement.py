"""Placement: every router computes the same owners, and few move when a node comes or goes."""

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from repertory.actors.placement import Host, owners

NAMES = st.text("abcdefgh", min_size=1, max_size=4)
HOSTS = st.sets(NAMES, min_size=1, max_size=6).map(lambda names: [Host(n) for n in sorted(names)])
TYPES = [f"type-{number}" for number in range(1000)]
FOUR = [Host(name) for name in "abcd"]


def owned(hosts: list[Host], replicas: int = 1) -> dict[str, tuple[str, ...]]:
    return {name: owners(name, hosts, replicas=replicas) for name in TYPES}


@given(NAMES, HOSTS, st.integers(1, 4), st.randoms(use_true_random=False))
def test_the_order_in_which_nodes_are_known_does_not_matter(
    data_type: str, hosts: list[Host], replicas: int, chance: random.Random
) -> None:
    shuffled = list(hosts)
    chance.shuffle(shuffled)
    assert owners(data_type, hosts, replicas=replicas) == owners(
        data_type, shuffled, replicas=replicas
    )


@given(NAMES, HOSTS, st.integers(1, 8))
def test_replicas_are_on_different_nodes(data_type: str, hosts: list[Host], replicas: int) -> None:
    found = owners(data_type, hosts, replicas=replicas)
    assert len(set(found)) == len(found) == min(replicas, len(hosts))


@given(NAMES, HOSTS, st.integers(1, 3))
def test_a_node_that_leaves_moves_nothing_that_it_did_not_own(
    data_type: str, hosts: list[Host], replicas: int
) -> None:
    before = owners(data_type, hosts, replicas=replicas)
    gone = hosts[0]
    after = owners(data_type, hosts[1:], replicas=replicas)
    assert [name for name in before if name != gone.name] == list(
        after[: len(before) - (gone.name in before)]
    )


def test_owners_are_the_same_on_all_machines_and_for_ever() -> None:
    assert [owners(name, FOUR, replicas=2) for name in ("wine", "beer", "picture")] == [
        ("a", "c"),
        ("b", "d"),
        ("d", "c"),
    ]


def test_a_thousand_data_types_are_spread_evenly() -> None:
    shares = Counter(names[0] for names in owned(FOUR).values())
    assert all(abs(count - 250) <= 37 for count in shares.values()), shares


def test_a_fourth_node_takes_its_share_and_nothing_else_moves() -> None:
    before, after = owned(FOUR[:3], replicas=2), owned(FOUR, replicas=2)
    moved = sum(len(set(after[name]) - set(before[name])) for name in TYPES)
    assert moved <= (1 / 4 + 0.1) * 2 * len(TYPES)
    assert all(set(after[name]) - set(before[name]) <= {"d"} for name in TYPES)


def test_a_node_of_twice_the_weight_owns_twice_as_much() -> None:
    hosts = [Host("a", weight=2), Host("b")]
    shares = Counter(owners(name, hosts)[0] for name in TYPES)
    assert 0.6 < shares["a"] / len(TYPES) < 0.73


def test_what_a_data_type_needs_and_what_a_node_takes_are_honoured() -> None:
    hosts = [
        Host("plain"),
        Host("gpu", capabilities={"gpu": True}),
        Host("cellar", only=frozenset({"wine"})),
        Host("resting", weight=0),
    ]
    assert set(owners("picture", hosts, replicas=4)) == {"plain", "gpu"}
    assert set(owners("wine", hosts, replicas=4)) == {"plain", "gpu", "cellar"}
    assert owners("picture", hosts, replicas=4, needs={"gpu": True}) == ("gpu",)
    assert owners("picture", hosts, needs={"gpu": True, "zone": "north"}) == ()
