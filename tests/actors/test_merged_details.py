"""What nodes tell to one who looks on is told of all of them together."""

from typing import Any

from repertory.actors.merged_details import merged_details
from repertory.actors.merged_part import Part
from repertory.actors.recent import MOST_TOLD
from repertory.actors.sketches import gained, new_sketch, pack


def part(node: str, *moments: int) -> Part:
    sketch = new_sketch()
    sketch.add(1.0, 3)
    told: dict[str, Any] = {"version": 3, "since": 5, "pid": 7, "sketches": {"times": pack(sketch)}}
    told["recent"] = [{"at": at, "version": 3, "value": 1.0} for at in moments]
    return Part(node, told, 100)


def test_the_newest_of_all_nodes_are_told_and_no_more() -> None:
    told = merged_details([part("b", 30, 10), part("a", *range(20, 40, 2))])["recent"]
    assert len(told) == MOST_TOLD
    assert [each["at"] for each in told[:4]] == [38, 36, 34, 32]


def test_what_each_node_counted_is_told_by_node() -> None:
    sketches = merged_details([part("b"), part("a"), Part("c", None, 100, 50)])["sketches"]
    assert list(sketches) == ["a", "b"]
    assert (sketches["a"]["version"], sketches["a"]["since"], sketches["a"]["pid"]) == (3, 5, 7)


def test_a_node_of_an_older_version_tells_of_no_results() -> None:
    assert merged_details([Part("a", {"version": 3}, 100)]) == {"sketches": {}, "recent": []}


def test_a_sketch_gains_what_it_counts_later() -> None:
    sketch = new_sketch()
    sketch.add(1.0, 3)
    before = pack(sketch)
    sketch.add(1.0, 2)
    sketch.add(0.0, 1)
    sketch.add(-4.0, 5)
    later = new_sketch()
    for value, weight in ((1.0, 2), (0.0, 1), (-4.0, 5)):
        later.add(value, weight)
    assert gained(pack(sketch), before) == pack(later)
    assert gained(before, None) == before
