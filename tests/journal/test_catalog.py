"""The catalog: what became of each model version."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repertory.errors import JournalError, NotFound
from repertory.journal.catalog import Catalog, ModelVersion, OnStage, Retirement, Step
from repertory.journal.lifecycle import LEGAL, IllegalTransition, ModelState

WINE = ModelVersion(
    data_type="wine",
    version=1,
    name="forest",
    description="of 10 trees",
    model_type="PMML",
    sha256="ab" * 32,
    published_ms=1_700_000_000_000,
    origin="models/0/0",
)
PUBLISHED, LOADING, WARM, SERVING, RETIRED, REJECTED = ModelState


@pytest.fixture
def open_catalog(tmp_path: Path) -> Iterator[Callable[[], Catalog]]:
    """Open the catalog of this test, anew with each call; its clock ticks once a millisecond."""
    catalogs: list[Catalog] = []
    ticks = count(1)

    def open_one() -> Catalog:
        catalogs.append(Catalog(tmp_path / "catalog.sqlite", clock=lambda: next(ticks)))
        return catalogs[-1]

    yield open_one
    for catalog in catalogs:
        catalog.close()


@pytest.fixture
def catalog(open_catalog: Callable[[], Catalog]) -> Catalog:
    """An empty catalog."""
    return open_catalog()


def take(
    catalog: Catalog,
    version: int,
    *states: ModelState,
    data_type: str = "wine",
    name: str = WINE.name,
) -> None:
    """Record a version, and take it through some states."""
    catalog.record(replace(WINE, version=version, data_type=data_type, name=name))
    for state in states:
        catalog.move(data_type, version, state)


def test_a_version_is_recorded_with_all_that_is_known(catalog: Catalog) -> None:
    recorded = catalog.record(WINE)
    assert recorded == replace(WINE, history=(Step(PUBLISHED, 1),))
    assert catalog.get("wine", 1) == recorded
    assert (recorded.reason, recorded.serving_since_ms, recorded.retired_ms) == ("", None, None)


def test_recording_again_changes_nothing(catalog: Catalog) -> None:
    take(catalog, 1, LOADING)
    assert catalog.record(WINE) == catalog.get("wine", 1)
    assert catalog.get("wine", 1).state is LOADING


def test_the_catalog_of_another_journal_is_refused(catalog: Catalog) -> None:
    catalog.record(WINE)
    with pytest.raises(JournalError, match=r"version 1 of 'wine' has digest abab.*another journal"):
        catalog.record(replace(WINE, sha256="cd" * 32))


def test_a_life_is_remembered_step_by_step(open_catalog: Callable[[], Catalog]) -> None:
    catalog = open_catalog()
    take(catalog, 1, LOADING, WARM, SERVING)
    catalog.close()
    model = open_catalog().get("wine", 1)
    assert model.history == (Step(PUBLISHED, 1), Step(LOADING, 2), Step(WARM, 3), Step(SERVING, 4))
    assert (model.state, model.serving_since_ms) == (SERVING, 4)


def test_a_rejected_version_says_why(catalog: Catalog) -> None:
    take(catalog, 1, LOADING)
    model = catalog.move("wine", 1, REJECTED, reason="operator Foo is not understood")
    assert (model.state, model.reason) == (REJECTED, "operator Foo is not understood")


def test_going_where_it_is_already_changes_nothing(catalog: Catalog) -> None:
    take(catalog, 1, LOADING)
    before = catalog.get("wine", 1)
    assert catalog.move("wine", 1, LOADING, reason="again") == before
    assert catalog.get("wine", 1) == before


def test_an_illegal_step_is_refused_and_changes_nothing(catalog: Catalog) -> None:
    take(catalog, 1, LOADING)
    with pytest.raises(IllegalTransition, match="version 1 of 'wine' cannot go from LOADING to"):
        catalog.move("wine", 1, SERVING)
    assert catalog.get("wine", 1).state is LOADING


def test_the_next_version_on_stage_retires_the_former(catalog: Catalog) -> None:
    take(catalog, 1, LOADING, WARM, SERVING)
    take(catalog, 2, LOADING, WARM)
    second = catalog.move("wine", 2, SERVING, at_ms=500)
    first = catalog.get("wine", 1)
    assert (first.state, first.retired_ms) == (RETIRED, 500)
    assert first.reason == "version 2 took its place"
    assert (second.state, second.serving_since_ms) == (SERVING, 500)


def test_data_types_have_a_stage_each(catalog: Catalog) -> None:
    take(catalog, 1, LOADING, WARM, SERVING)
    take(catalog, 2, LOADING, WARM, SERVING, data_type="beer")
    assert [model and model.version for model in map(catalog.serving, ("wine", "beer", "tea"))] == (
        [1, 2, None]
    )


def test_a_retired_version_comes_back_by_a_roll_back(catalog: Catalog) -> None:
    take(catalog, 1, LOADING, WARM, SERVING)
    take(catalog, 2, LOADING, WARM, SERVING)
    first = catalog.move("wine", 1, SERVING)
    states = [step.state for step in first.history]
    assert states == [PUBLISHED, LOADING, WARM, SERVING, RETIRED, SERVING]
    assert first.serving_since_ms == first.history[-1].at_ms
    assert catalog.get("wine", 2).state is RETIRED


def test_a_retired_data_type_has_nothing_on_stage(catalog: Catalog) -> None:
    take(catalog, 1, LOADING, WARM, SERVING)
    catalog.put_on_stage("wine", 1, position=1)
    retired = catalog.retire("wine", position=2)
    assert retired == catalog.retirement("wine") == Retirement("wine", 2, 6, 1)
    assert (catalog.serving("wine"), catalog.on_stage("wine")) == (None, None)
    model = catalog.get("wine", 1)
    assert (model.state, model.retired_ms) == (RETIRED, 5)
    assert model.reason == "the model of 'wine' was retired (journal position 2)"


def test_what_is_retired_again_is_so_since_the_first_time(catalog: Catalog) -> None:
    take(catalog, 1, LOADING, WARM, SERVING)
    first = catalog.retire("wine", position=2)
    assert catalog.retire("wine", position=3) == replace(first, position=3)


def test_a_later_version_brings_a_retired_data_type_back(catalog: Catalog) -> None:
    take(catalog, 1, LOADING, WARM, SERVING)
    catalog.put_on_stage("wine", 1, position=1)
    catalog.retire("wine", position=2)
    assert catalog.put_on_stage("wine", 1, position=3) == OnStage("wine", 1, 3)
    assert catalog.retirement("wine") is None
    assert catalog.move("wine", 1, SERVING).state is SERVING


def test_what_never_served_is_retired_too(catalog: Catalog) -> None:
    assert catalog.retire("wine", position=4) == Retirement("wine", 4, 1, None)
    assert catalog.retire("wine", position=4) == Retirement("wine", 4, 1, None)
    take(catalog, 3)
    assert catalog.put_on_stage("wine", 3, position=3) == Retirement("wine", 4, 1, None)


_WISHES = st.lists(st.tuples(st.integers(1, 9), st.booleans()), max_size=12)


@settings(max_examples=30, deadline=None)
@given(_WISHES)
def test_the_last_position_decides_what_is_on_stage_in_whatever_order_they_come(
    wishes: list[tuple[int, bool]],
) -> None:
    first = dict(wishes)
    with TemporaryDirectory() as folder:
        catalog = Catalog(Path(folder) / "catalog.sqlite")
        take(catalog, 1)
        for position, _ in wishes:  # an entry says the same each time
            if first[position]:
                catalog.retire("wine", position=position)
            else:
                catalog.put_on_stage("wine", 1, position=position)
        wanted = catalog.on_stage("wine") or catalog.retirement("wine")
        assert (catalog.on_stage("wine") is None) or (catalog.retirement("wine") is None)
        catalog.close()
    last = max(first, default=None)
    assert (wanted and wanted.position) == last
    assert isinstance(wanted, Retirement) == bool(last and first[last])


def test_a_retired_version_may_be_prepared_again(catalog: Catalog) -> None:
    take(catalog, 1, LOADING, WARM, SERVING, RETIRED, LOADING, WARM, SERVING)
    assert catalog.get("wine", 1).state is SERVING


def test_versions_are_listed_newest_first(catalog: Catalog) -> None:
    for version in (3, 11, 7):
        take(catalog, version)
    take(catalog, 5, data_type="beer")
    assert [model.version for model in catalog.versions("wine")] == [11, 7, 3]
    assert [model.version for model in catalog.versions("wine", limit=2)] == [11, 7]
    assert catalog.versions("tea") == []


@pytest.mark.parametrize("version", [-1, 0, 2, 10**30])
def test_an_unknown_version_is_not_found(catalog: Catalog, version: int) -> None:
    catalog.record(WINE)
    with pytest.raises(NotFound, match=f"no model version {version} of 'wine'"):
        catalog.get("wine", version)
    with pytest.raises(NotFound):
        catalog.move("wine", version, LOADING)
    with pytest.raises(NotFound):
        catalog.put_on_stage("wine", version, position=9)


def test_what_should_be_on_stage_is_remembered(open_catalog: Callable[[], Catalog]) -> None:
    catalog = open_catalog()
    take(catalog, 1)
    take(catalog, 2)
    assert catalog.on_stage("wine") is None
    catalog.put_on_stage("wine", 2, position=2)
    rolled_back = catalog.put_on_stage("wine", 1, position=3)
    assert open_catalog().on_stage("wine") == rolled_back == OnStage("wine", 1, 3)


def test_an_older_entry_does_not_change_the_stage(catalog: Catalog) -> None:
    take(catalog, 1)
    take(catalog, 2)
    newest = catalog.put_on_stage("wine", 1, position=3)
    assert catalog.put_on_stage("wine", 2, position=2) == newest
    assert catalog.on_stage("wine") == newest


def test_the_processed_position_is_kept_for_each_journal(
    open_catalog: Callable[[], Catalog],
) -> None:
    catalog = open_catalog()
    assert catalog.processed("kafka") == 0
    catalog.mark_processed("kafka", 7)
    catalog.mark_processed("kafka", 5)
    catalog.mark_processed("sqlite", 2)
    assert [open_catalog().processed(name) for name in ("kafka", "sqlite")] == [7, 2]


def test_versions_in_use_and_those_served_last_are_kept(catalog: Catalog) -> None:
    for version in range(1, 6):
        take(catalog, version, LOADING, WARM, SERVING)
    catalog.move("wine", 2, SERVING)  # so that 5 retires last, and 1 was served longest ago
    take(catalog, 6, LOADING, REJECTED)
    take(catalog, 7, LOADING)
    assert catalog.versions_to_keep("wine", 4) == {2, 5, 4, 7}
    assert catalog.versions_to_keep("wine", 1) == {2, 7}
    assert catalog.versions_to_keep("wine", 99) == {1, 2, 3, 4, 5, 7}


def test_the_version_that_should_be_on_stage_is_kept(catalog: Catalog) -> None:
    for version in range(1, 5):
        take(catalog, version, LOADING, WARM, SERVING)
    catalog.put_on_stage("wine", 1, position=9)
    assert catalog.versions_to_keep("wine", 2) == {4, 1}


def test_the_newest_warm_version_of_each_name_is_kept_for_a_policy_to_name(
    catalog: Catalog,
) -> None:
    for version, name in enumerate(("forest", "tree", "tree", "mlp", "mlp"), start=1):
        take(catalog, version, LOADING, WARM, name=name)
    catalog.move("wine", 1, SERVING)
    assert catalog.versions_to_keep("wine", 10) == {1, 3, 5}
    assert catalog.versions_to_keep("wine", 1) == {1, 5}


def test_nothing_is_kept_of_an_unknown_data_type(catalog: Catalog) -> None:
    assert catalog.versions_to_keep("tea", 10) == frozenset()


@settings(max_examples=25, deadline=None)
@given(
    steps=st.lists(st.tuples(st.integers(1, 3), st.sampled_from(ModelState)), max_size=40),
)
def test_whatever_happens_at_most_one_version_serves(
    steps: list[tuple[int, ModelState]],
) -> None:
    with TemporaryDirectory() as folder:
        catalog = Catalog(Path(folder) / "catalog.sqlite")
        for version in (1, 2, 3):
            take(catalog, version)
        for version, state in steps:
            before = catalog.get("wine", version).state
            legal = state in LEGAL[before] | {before}
            try:
                assert catalog.move("wine", version, state).state is state
                assert legal
            except IllegalTransition:
                assert not legal
            models = catalog.versions("wine")
            assert [model.state for model in models].count(SERVING) <= 1
            assert all(model.history[-1].state is model.state for model in models)
        catalog.close()
