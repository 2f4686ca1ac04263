"""The slots of a data type in the catalog: which version serves which one, or should."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repertory.journal.catalog import Catalog, ModelVersion, OnStage, Retirement
from repertory.journal.lifecycle import ModelState

WINE = ModelVersion(
    data_type="wine",
    version=1,
    name="forest",
    description="",
    model_type="ONNX",
    sha256="ab" * 32,
    published_ms=1_700_000_000_000,
)
PUBLISHED, LOADING, WARM, SERVING, RETIRED, REJECTED = ModelState


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    """An empty catalog, whose clock ticks once a millisecond."""
    ticks = count(1)
    catalog = Catalog(tmp_path / "catalog.sqlite", clock=lambda: next(ticks))
    yield catalog
    catalog.close()


def warm(catalog: Catalog, version: int, name: str = "forest") -> None:
    """Record a version, and warm it up."""
    catalog.record(replace(WINE, version=version, name=name))
    catalog.move("wine", version, LOADING)
    catalog.move("wine", version, WARM)


def stage(catalog: Catalog, version: int, slot: str, *, position: int | None = None) -> None:
    """Put a version into a slot, as wanted by its own entry or another one."""
    catalog.put_on_stage("wine", version, position=position or version, slot=slot)
    catalog.move("wine", version, SERVING, slot=slot)


def serving(catalog: Catalog) -> dict[str, int]:
    """Return which version serves each slot."""
    return {model.slot: model.version for model in catalog.all_serving("wine")}


@pytest.fixture
def three(catalog: Catalog) -> Catalog:
    """A catalog with three slots: forest (version 1), mlp (3) and tree (2)."""
    for version, name in enumerate(("forest", "tree", "mlp"), start=1):
        warm(catalog, version, name)
        stage(catalog, version, name)
    return catalog


def test_each_slot_has_a_version_of_its_own(three: Catalog) -> None:
    assert serving(three) == {"forest": 1, "mlp": 3, "tree": 2}
    assert three.all_on_stage("wine") == [
        OnStage("wine", 1, 1, "forest"),
        OnStage("wine", 3, 3, "mlp"),
        OnStage("wine", 2, 2, "tree"),
    ]
    assert three.on_stage("wine", "tree") == OnStage("wine", 2, 2, "tree")
    assert (three.serving("wine"), three.on_stage("wine")) == (None, None)
    assert (three.all_serving("beer"), three.all_on_stage("beer")) == ([], [])


def test_only_the_former_of_that_slot_is_retired(three: Catalog) -> None:
    warm(three, 4, "tree")
    stage(three, 4, "tree")
    former = three.get("wine", 2)
    assert serving(three) == {"forest": 1, "mlp": 3, "tree": 4}
    assert (former.state, former.slot, former.reason) == (
        RETIRED,
        "tree",
        "version 4 took its place",
    )


def test_a_version_that_serves_comes_to_another_slot(three: Catalog) -> None:
    moved = three.move("wine", 1, SERVING, slot="", at_ms=700)
    assert (moved.state, moved.slot, moved.reason) == (SERVING, "", "in slot ''")
    assert moved.serving_since_ms == 700
    assert serving(three) == {"": 1, "mlp": 3, "tree": 2}
    assert three.move("wine", 1, SERVING, slot="") == moved
    assert three.move("wine", 1, SERVING) == moved


def test_a_version_that_comes_to_another_slot_retires_who_served_there(three: Catalog) -> None:
    three.move("wine", 1, SERVING, slot="tree")
    assert serving(three) == {"mlp": 3, "tree": 1}
    assert three.get("wine", 2).state is RETIRED


def test_a_version_comes_back_to_where_it_served_unless_told_otherwise(three: Catalog) -> None:
    three.move("wine", 2, RETIRED)
    three.move("wine", 3, RETIRED)
    assert three.move("wine", 2, SERVING).slot == "tree"
    assert three.move("wine", 3, SERVING, slot="x").slot == "x"


def test_a_slot_counts_for_serving_only(catalog: Catalog) -> None:
    catalog.record(replace(WINE, slot="given"))
    assert catalog.get("wine", 1).slot == ""
    assert catalog.move("wine", 1, LOADING, slot="x").slot == ""


def test_an_older_entry_of_another_slot_is_no_hindrance(three: Catalog) -> None:
    assert three.put_on_stage("wine", 1, position=2, slot="x") == OnStage("wine", 1, 2, "x")
    assert three.put_on_stage("wine", 1, position=2, slot="mlp") == OnStage("wine", 3, 3, "mlp")


def test_slots_that_a_policy_does_not_name_are_cleared(three: Catalog) -> None:
    why = "not in policy 4"
    gone = three.clear_slots("wine", keep={"tree", "other"}, position=4, reason=why)
    assert [(one.version, one.state, one.reason) for one in gone] == (
        [(1, RETIRED, why), (3, RETIRED, why)]
    )
    assert serving(three) == {"tree": 2}
    assert three.all_on_stage("wine") == [OnStage("wine", 2, 2, "tree")]
    assert three.clear_slots("wine", keep={"tree", "other"}, position=4, reason=why) == []


def test_what_moved_to_another_slot_is_not_wanted_in_the_former(catalog: Catalog) -> None:
    warm(catalog, 1)
    stage(catalog, 1, "")
    stage(catalog, 1, "forest", position=2)
    assert catalog.clear_slots("wine", keep=["forest"], position=2, reason="policy 2") == []
    assert catalog.all_on_stage("wine") == [OnStage("wine", 1, 2, "forest")]
    assert serving(catalog) == {"forest": 1}


def test_a_slot_that_a_later_entry_filled_is_not_cleared(three: Catalog) -> None:
    gone = three.clear_slots("wine", keep=(), position=2, reason="policy 2")
    assert [one.version for one in gone] == [1, 2]
    assert serving(three) == {"mlp": 3}
    assert three.all_on_stage("wine") == [OnStage("wine", 3, 3, "mlp")]


def test_a_retirement_clears_all_slots(three: Catalog) -> None:
    retired = three.retire("wine", position=4)
    assert isinstance(retired, Retirement)
    assert (retired.position, retired.version) == (4, 1)
    assert (three.all_serving("wine"), three.all_on_stage("wine")) == ([], [])
    assert {model.state for model in three.versions("wine")} == {RETIRED}


def test_a_retirement_names_the_version_of_the_default_slot(three: Catalog) -> None:
    three.move("wine", 2, SERVING, slot="")
    retired = three.retire("wine", position=4)
    assert isinstance(retired, Retirement)
    assert retired.version == 2


def test_a_retirement_before_the_last_entry_of_any_slot_changes_nothing(three: Catalog) -> None:
    assert three.retire("wine", position=2) == OnStage("wine", 3, 3, "mlp")
    assert serving(three) == {"forest": 1, "mlp": 3, "tree": 2}


def test_a_later_version_in_any_slot_ends_the_retirement(three: Catalog) -> None:
    three.retire("wine", position=4)
    assert three.put_on_stage("wine", 1, position=3, slot="x") == three.retirement("wine")
    assert three.put_on_stage("wine", 1, position=5, slot="x") == OnStage("wine", 1, 5, "x")
    assert three.retirement("wine") is None


def newest(catalog: Catalog, name: str = "forest") -> int | None:
    """Return the number of the newest version."""
    model = catalog.newest("wine", name)
    return None if model is None else model.version


def test_the_newest_of_a_name_is_the_one_published_last_that_can_serve(catalog: Catalog) -> None:
    assert newest(catalog) is None
    for version in (1, 2, 3, 4, 5):
        warm(catalog, version, "tree" if version == 3 else "forest")
    catalog.move("wine", 5, REJECTED, reason="slow")
    catalog.record(replace(WINE, version=6))
    assert (newest(catalog), newest(catalog, "tree"), newest(catalog, "mlp")) == (4, 3, None)


def test_a_version_that_was_put_back_is_the_newest_until_the_next_is_published(
    catalog: Catalog,
) -> None:
    for version in (1, 2):
        warm(catalog, version)
        stage(catalog, version, "forest")
    stage(catalog, 1, "forest", position=3)
    assert newest(catalog) == 1
    catalog.clear_slots("wine", keep=(), position=4, reason="policy 4")
    assert newest(catalog) == 1
    warm(catalog, 5)
    assert newest(catalog) == 5


def test_a_version_that_waited_wins_over_one_that_served_later_but_is_older(
    catalog: Catalog,
) -> None:
    warm(catalog, 1)
    warm(catalog, 2)
    catalog.put_on_stage("wine", 1, position=1, slot="forest")
    catalog.move("wine", 1, SERVING, slot="forest", at_ms=10**14)
    assert newest(catalog) == 2


def test_what_any_slot_should_have_is_kept(three: Catalog) -> None:
    for version in (1, 2, 3):
        three.move("wine", version, RETIRED)
    assert three.versions_to_keep("wine", 1) == {1, 2, 3}


_ENTRIES = st.lists(
    st.tuples(
        st.integers(1, 3),
        st.sampled_from(("", "a", "b")),
        st.sampled_from(("stage", "clear", "retire")),
    ),
    max_size=12,
)


@settings(max_examples=25, deadline=None)
@given(_ENTRIES)
def test_each_entry_may_be_handled_twice(entries: list[tuple[int, str, str]]) -> None:
    def handled(times: int) -> list[object]:
        with TemporaryDirectory() as folder:
            catalog = Catalog(Path(folder) / "catalog.sqlite", clock=lambda: 0)
            for version in (1, 2, 3):
                warm(catalog, version)
            for position, entry in enumerate(entries, start=4):
                for _ in range(times):
                    _DO[entry[2]](catalog, position, *entry[:2])
            stage = catalog.all_on_stage("wine")
            assert len(catalog.all_serving("wine")) <= len(stage)
            held: list[object] = [catalog.versions("wine"), stage, catalog.retirement("wine")]
            catalog.close()
        return held

    assert handled(2) == handled(1)


_DO: dict[str, Callable[[Catalog, int, int, str], object]] = {
    "stage": lambda catalog, position, version, slot: stage(
        catalog, version, slot, position=position
    ),
    "clear": lambda catalog, position, _, slot: catalog.clear_slots(
        "wine", keep={slot}, position=position, reason="policy"
    ),
    "retire": lambda catalog, position, *_: catalog.retire("wine", position=position),
}
