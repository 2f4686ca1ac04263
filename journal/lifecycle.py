"""The life of a model version.

PUBLISHED ──> LOADING ──> WARM ──> SERVING ──> RETIRED
                 │  ^       │         ^         │ │
                 │  │       │         └─────────┘ │   served again: a roll back
                 │  └───────┼─────────────────────┘   … which had to be prepared once more
                 └────┬─────┘
                      v
                  REJECTED
"""

from enum import StrEnum

from repertory.errors import RepertoryError


class ModelState(StrEnum):
    """Where a model version is in its life."""

    PUBLISHED = "PUBLISHED"  # it is in the journal; nothing was done with it
    LOADING = "LOADING"  # it is in the green room, being checked and compiled
    WARM = "WARM"  # it is prepared, and may go on stage at any moment
    SERVING = "SERVING"  # it is on stage: at most one version of a data type is
    RETIRED = "RETIRED"  # another version, or nothing, took its place; it may come back
    REJECTED = "REJECTED"  # it cannot be served; the reason says why. The end


LEGAL = {
    ModelState.PUBLISHED: frozenset({ModelState.LOADING}),
    ModelState.LOADING: frozenset({ModelState.WARM, ModelState.REJECTED}),
    ModelState.WARM: frozenset({ModelState.SERVING, ModelState.REJECTED}),
    ModelState.SERVING: frozenset({ModelState.RETIRED}),
    ModelState.RETIRED: frozenset({ModelState.SERVING, ModelState.LOADING}),
    ModelState.REJECTED: frozenset[ModelState](),
}


class IllegalTransition(RepertoryError):
    """A model version was to make a step that its life does not have."""

    def __init__(self, model: str, *, state: ModelState, to: ModelState) -> None:
        legal = ", ".join(sorted(LEGAL[state])) or "nowhere"
        super().__init__(f"{model} cannot go from {state} to {to} (from {state}: {legal})")
        self.state = state
        self.to = to


def check_transition(model: str, state: ModelState, to: ModelState) -> None:
    """Raise IllegalTransition, naming `model`, unless `to` may follow `state`."""
    if to not in LEGAL[state]:
        raise IllegalTransition(model, state=state, to=to)
