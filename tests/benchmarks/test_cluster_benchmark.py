"""The benchmark of clusters: what it makes of its numbers, and that it runs."""

import json
from pathlib import Path

import pytest
from benchmarks import cluster_growth, cluster_hop
from benchmarks.cluster import main
from benchmarks.cluster_growth import EVENLY, OWNERS, Cost, verdict
from benchmarks.cluster_hop import Numbers


def trials(evenly: tuple[float, float, float]) -> list[cluster_growth.Trial]:
    """Return trials in which a record costs 3 µs where no hop is paid."""
    costs = [(nodes, OWNERS, 3.0) for nodes in (1, 2, 3)]
    costs += [(nodes, EVENLY, cost) for nodes, cost in enumerate(evenly, 1)]
    return [
        cluster_growth.Trial(1, nodes, way, Cost(500, 0, 0.5, cost, 0.1, cost, 1.0, 2.0))
        for nodes, way, cost in costs
    ]


@pytest.mark.parametrize(("three", "growth"), [(3.8, 0.0), (3.8 * 1.2, 0.2)])
def test_growth_is_what_three_nodes_cost_beyond_the_hop(three: float, growth: float) -> None:
    """Of 1.2 µs here: half of all records make one with two nodes, two of three with three."""
    found, sentences = verdict(trials((3.0, 3.6, three)))
    assert found == pytest.approx(growth)
    assert ("NOT within" in sentences[-1]) is (growth > 0.1)
    assert "a hop costs 1.20 µs a record with two nodes" in sentences[0]


def test_ratios_are_those_of_each_round() -> None:
    """A round in which the machine was slow says as much as others; the owner's door is the base."""
    found = [
        cluster_hop.Trial(number, "TCP", door, Numbers(rate, 2.0, 1.0, 1.0, 1.0, 1.0))
        for door, rates in (("at the owner", (80, 10, 999)), ("one hop away", (60, 7, 700)))
        for number, rate in enumerate(rates, 1)
    ]
    assert cluster_hop.hop_table(found)[-1].startswith("| TCP | ratio | 0.70 | 1.00 |")


def test_nodes_with_tls_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The benchmark itself sees to it that each batch makes a hop at one door, none at the other."""
    monkeypatch.setattr(cluster_hop, "TRANSPORTS", ("TLS",))
    path = tmp_path / "hop.json"
    assert main(["hop", "--rounds", "1", "--seconds", "0.1", "--json", str(path)]) == 0
    owner, other = json.loads(path.read_text())["trials"]
    assert (owner["door"], other["door"]) == ("at the owner", "one hop away")
    assert min(owner["numbers"]["rate"], other["numbers"]["rate"]) > 0


async def test_a_load_that_is_spread_evenly_makes_as_many_hops_as_it_should(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each other batch comes in at a door that is not its owner's, however these are placed."""
    monkeypatch.setattr(cluster_growth, "DATA_TYPES", ("red", "white", "pink"))
    found = await cluster_growth.measure_growth(1, 0.2, rate=20_000, nodes=[2], say=print, settle=0)
    assert {(each.way, each.cost.hops) for each in found} == {(OWNERS, 0.0), (EVENLY, 0.5)}
    assert not any(each.cost.failures for each in found)
