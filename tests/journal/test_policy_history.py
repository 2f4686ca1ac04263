"""The history of policies: which version decides, and what became of the others."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from repertory.errors import JournalError, NotFound
from repertory.journal.catalog import Catalog, PolicyVersion
from repertory.journal.lifecycle import IllegalTransition, PolicyState

PUBLISHED, IN_FORCE, REPLACED, REJECTED = PolicyState
POLICY = PolicyVersion("wine", 4, '{"policy": "majority"}', "three heads", 1_700_000_000_000)


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    """An empty catalog, whose clock ticks once a millisecond."""
    ticks = count(1)
    catalog = Catalog(tmp_path / "catalog.sqlite", clock=lambda: next(ticks))
    yield catalog
    catalog.close()


def enforce(catalog: Catalog, version: int, settings: str = "{}") -> PolicyVersion:
    """Record a version, and put it in force."""
    catalog.record_policy(replace(POLICY, version=version, settings=settings))
    return catalog.decide_policy("wine", version, IN_FORCE)


def states(catalog: Catalog) -> dict[int, PolicyState]:
    """Return the state of each version."""
    return {policy.version: policy.state for policy in catalog.policies("wine")}


def test_a_policy_is_recorded_with_all_that_is_known(catalog: Catalog) -> None:
    given = replace(POLICY, origin="models/0/3")
    assert catalog.record_policy(replace(given, state=REJECTED, reason="x")) == given
    assert catalog.get_policy("wine", 4) == given
    assert catalog.policies("wine") == [given]
    assert (catalog.policy_in_force("wine"), catalog.policies("beer")) == (None, [])


def test_recording_again_changes_nothing(catalog: Catalog) -> None:
    decided = enforce(catalog, 4)
    assert catalog.record_policy(replace(POLICY, settings="{}")) == decided
    with pytest.raises(JournalError, match=r"policy 4 of 'wine' has other settings.*move it away"):
        catalog.record_policy(POLICY)


def test_the_next_policy_replaces_the_former(catalog: Catalog) -> None:
    assert enforce(catalog, 4).decided_ms == 1
    second = enforce(catalog, 7)
    assert catalog.policy_in_force("wine") == second
    former = catalog.get_policy("wine", 4)
    assert (former.state, former.reason) == (REPLACED, "policy 7 took its place")
    assert [policy.version for policy in catalog.policies("wine")] == [7, 4]


def test_data_types_have_policies_of_their_own(catalog: Catalog) -> None:
    wine = enforce(catalog, 4)
    catalog.record_policy(replace(POLICY, data_type="beer", version=5))
    beer = catalog.decide_policy("beer", 5, IN_FORCE)
    assert (catalog.policy_in_force("wine"), catalog.policy_in_force("beer")) == (wine, beer)


def test_a_removal_is_in_force_and_means_no_policy(catalog: Catalog) -> None:
    enforce(catalog, 4)
    assert enforce(catalog, 5, settings="").state is IN_FORCE
    assert catalog.policy_in_force("wine") is None
    assert states(catalog) == {5: IN_FORCE, 4: REPLACED}
    assert catalog.policy_in_force("wine") is None
    assert enforce(catalog, 6) == catalog.policy_in_force("wine")


def test_a_rejected_policy_says_why_and_replaces_nothing(catalog: Catalog) -> None:
    first = enforce(catalog, 4)
    catalog.record_policy(replace(POLICY, version=5))
    rejected = catalog.decide_policy("wine", 5, REJECTED, reason="no model named oak")
    assert (rejected.state, rejected.reason) == (REJECTED, "no model named oak")
    assert catalog.policy_in_force("wine") == first
    with pytest.raises(IllegalTransition, match="policy 5 of 'wine' cannot go from REJECTED"):
        catalog.decide_policy("wine", 5, IN_FORCE)


def test_deciding_again_changes_nothing(catalog: Catalog) -> None:
    first = enforce(catalog, 4)
    assert catalog.decide_policy("wine", 4, IN_FORCE, reason="again") == first


def test_an_older_policy_does_not_replace_a_newer(catalog: Catalog) -> None:
    newer = enforce(catalog, 7)
    assert enforce(catalog, 4) == newer
    assert enforce(catalog, 4) == newer
    assert states(catalog) == {7: IN_FORCE, 4: REPLACED}
    assert catalog.get_policy("wine", 4).reason == "policy 7 was in force already"


@pytest.mark.parametrize("version", [-1, 0, 5, 10**30])
def test_an_unknown_policy_is_not_found(catalog: Catalog, version: int) -> None:
    catalog.record_policy(POLICY)
    with pytest.raises(NotFound, match=f"no policy version {version} of 'wine'"):
        catalog.get_policy("wine", version)
    with pytest.raises(NotFound):
        catalog.decide_policy("wine", version, IN_FORCE)
