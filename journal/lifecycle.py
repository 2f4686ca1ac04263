"""The life of a model version.

PUBLISHED ──> LOADING ──> WARM ──> SERVING ──> RETIRED
                 │  ^       │         ^         │ │
                 │  │       │         └─────────┘ │   served again: a roll back
                 │  └───────┼─────────────────────┘   … which had to be prepared once more
                 └────┬─────┘
                      v
                  REJECTED ──> LOADING   another node serves it: it is tried again

… and that of a policy version:

PUBLISHED ──> IN_FORCE ──> REPLACED
    ├──> REPLACED   a later one was in force already
    └──> REJECTED
"""

from collections.abc import Collection
from enum import StrEnum

from repertory.errors import RepertoryError


class ModelState(StrEnum):
    """Where a model version is in its life."""

    PUBLISHED = "PUBLISHED"  # it is in the journal; nothing was done with it
    LOADING = "LOADING"  # it is in the green room, being checked and compiled
    WARM = "WARM"  # it is prepared, and may go on stage at any moment
    SERVING = "SERVING"  # it is on stage: in one slot, where no other version is
    RETIRED = "RETIRED"  # another version, or nothing, took its place; it may come back
    REJECTED = "REJECTED"  # it cannot be served; the reason says why


LEGAL = {
    ModelState.PUBLISHED: frozenset({ModelState.LOADING}),
    ModelState.LOADING: frozenset({ModelState.WARM, ModelState.REJECTED}),
    ModelState.WARM: frozenset({ModelState.SERVING, ModelState.REJECTED}),
    ModelState.SERVING: frozenset({ModelState.RETIRED}),
    ModelState.RETIRED: frozenset({ModelState.SERVING, ModelState.LOADING}),
    ModelState.REJECTED: frozenset({ModelState.LOADING}),
}


class PolicyState(StrEnum):
    """Where a policy version is in its life."""

    PUBLISHED = "PUBLISHED"  # it is in the journal; nothing was done with it
    IN_FORCE = "IN_FORCE"  # it decides: at most one version of a data type does
    REPLACED = "REPLACED"  # a later one decides. The end: what comes back is a new version
    REJECTED = "REJECTED"  # it cannot decide; the reason says why. The end


LEGAL_OF_POLICY = {
    PolicyState.PUBLISHED: frozenset(
        {PolicyState.IN_FORCE, PolicyState.REPLACED, PolicyState.REJECTED}
    ),
    PolicyState.IN_FORCE: frozenset({PolicyState.REPLACED}),
    PolicyState.REPLACED: frozenset[PolicyState](),
    PolicyState.REJECTED: frozenset[PolicyState](),
}


class IllegalTransition(RepertoryError):
    """A version of a model or a policy was to make a step that its life does not have."""

    def __init__(
        self, title: str, *, state: StrEnum, to: StrEnum, legal: Collection[StrEnum]
    ) -> None:
        where = ", ".join(sorted(legal)) or "nowhere"
        super().__init__(f"{title} cannot go from {state} to {to} (from {state}: {where})")
        self.state = state
        self.to = to


def check_transition(model: str, state: ModelState, to: ModelState) -> None:
    """Raise IllegalTransition, naming `model`, unless `to` may follow `state`."""
    if to not in LEGAL[state]:
        raise IllegalTransition(model, state=state, to=to, legal=LEGAL[state])


def check_policy_transition(policy: str, state: PolicyState, to: PolicyState) -> None:
    """Raise IllegalTransition, naming `policy`, unless `to` may follow `state`."""
    if to not in LEGAL_OF_POLICY[state]:
        raise IllegalTransition(policy, state=state, to=to, legal=LEGAL_OF_POLICY[state])
