"""What the catalog holds, as values: versions of models and policies, and what is on stage."""

from dataclasses import dataclass

from repertory.journal.lifecycle import ModelState, PolicyState

DEFAULT_SLOT = ""  # the one slot of a data type without a policy


@dataclass(frozen=True, slots=True)
class Step:
    """A model version came to `state`; the reason is empty where none is needed."""

    state: ModelState
    at_ms: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A model version and its life so far. Times are milliseconds since the epoch.

    `slot` is the one that it serves, or last served.
    """

    data_type: str
    version: int
    name: str
    description: str
    model_type: str
    sha256: str
    published_ms: int
    origin: str | None = None
    state: ModelState = ModelState.PUBLISHED
    history: tuple[Step, ...] = ()
    slot: str = DEFAULT_SLOT
    signature: str = ""  # as it was published, whoever made it

    @property
    def reason(self) -> str:
        """Why it is in its state."""
        return self.history[-1].reason if self.history else ""

    @property
    def serving_since_ms(self) -> int | None:
        """When it last went on stage, or to another slot."""
        return self._last(ModelState.SERVING)

    @property
    def retired_ms(self) -> int | None:
        """When it last left the stage."""
        return self._last(ModelState.RETIRED)

    def _last(self, state: ModelState) -> int | None:
        times = (step.at_ms for step in reversed(self.history) if step.state is state)
        return next(times, None)


@dataclass(frozen=True, slots=True)
class OnStage:
    """The version that should serve a slot, and the journal position that put it there."""

    data_type: str
    version: int
    position: int
    slot: str = DEFAULT_SLOT


@dataclass(frozen=True, slots=True)
class Retirement:
    """No version should serve a data type: since when, and which journal position says so.

    `version` is one that served until then: the one in the default slot, if any, or else the one in
    the slot whose name comes first; None when none did.
    """

    data_type: str
    position: int
    at_ms: int
    version: int | None


@dataclass(frozen=True, slots=True)
class PolicyVersion:
    """A version of a data type's policy. Times are milliseconds since the epoch.

    `settings` is a JSON object as text, not checked here; empty, it says "no policy any more".
    `decided_ms` is when it came to its state; None while it is PUBLISHED.
    """

    data_type: str
    version: int
    settings: str
    description: str
    published_ms: int
    origin: str | None = None
    state: PolicyState = PolicyState.PUBLISHED
    reason: str = ""
    decided_ms: int | None = None
