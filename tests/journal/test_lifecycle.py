"""Which steps the life of a model version has."""

from itertools import product

import pytest

from repertory.journal.lifecycle import (
    IllegalTransition,
    ModelState,
    PolicyState,
    check_policy_transition,
    check_transition,
)

LEGAL = """
    PUBLISHED LOADING
    LOADING WARM
    LOADING REJECTED
    REJECTED LOADING
    WARM SERVING
    WARM REJECTED
    SERVING RETIRED
    RETIRED SERVING
    RETIRED LOADING
"""
_STEPS = {tuple(map(ModelState, line.split())) for line in LEGAL.strip().splitlines()}


@pytest.mark.parametrize(("state", "to"), sorted(_STEPS))
def test_a_legal_step_is_taken(state: ModelState, to: ModelState) -> None:
    check_transition("version 1 of 'wine'", state, to)


@pytest.mark.parametrize(
    ("state", "to"), [pair for pair in product(ModelState, repeat=2) if pair not in _STEPS]
)
def test_any_other_step_is_refused_by_name(state: ModelState, to: ModelState) -> None:
    with pytest.raises(
        IllegalTransition, match=f"version 1 of 'wine' cannot go from {state} to {to}"
    ) as caught:
        check_transition("version 1 of 'wine'", state, to)
    assert (caught.value.state, caught.value.to) == (state, to)


_POLICY_STEPS = {
    (PolicyState.PUBLISHED, PolicyState.IN_FORCE),
    (PolicyState.PUBLISHED, PolicyState.REPLACED),
    (PolicyState.PUBLISHED, PolicyState.REJECTED),
    (PolicyState.IN_FORCE, PolicyState.REPLACED),
}


@pytest.mark.parametrize(("state", "to"), list(product(PolicyState, repeat=2)))
def test_a_policy_takes_its_legal_steps_only(state: PolicyState, to: PolicyState) -> None:
    if (state, to) in _POLICY_STEPS:
        check_policy_transition("policy 4 of 'wine'", state, to)
    else:
        with pytest.raises(IllegalTransition, match=f"policy 4 of 'wine' cannot go from {state}"):
            check_policy_transition("policy 4 of 'wine'", state, to)
