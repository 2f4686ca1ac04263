"""The policies that come with Repertory: from settings to what decides.

Entry points of the group `repertory.policies` name these functions, and those of other packages.
"""

from itertools import pairwise
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from repertory.actors.policies.canary import ByShare, Canary, Sticky
from repertory.actors.policies.deadline import BestInTime
from repertory.actors.policies.majority import Majority
from repertory.actors.policies.quality import AS_STATED, BestQuality, Calibration
from repertory.actors.policies.settings import PolicySettings
from repertory.actors.policies.trial import Limits
from repertory.models.names import public_name

# How long majority, quality and canary wait for a slot when their settings do not say: longer than
# a sound model needs, and short enough that one that hangs costs no answer.
PATIENCE_MS = 1000.0


class _Options(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True
    )


class NoOptions(_Options):
    """For policies that have none."""


class MajorityOptions(_Options):
    """What a majority needs besides."""

    quorum: Annotated[int, Field(ge=1)] | None = None
    """How many slots must have a score; more than half of them if not set."""


class Point(_Options):
    """What a stated confidence is worth."""

    stated: Annotated[float, Field(allow_inf_nan=False)]
    right: Annotated[float, Field(ge=0, le=1)]


class QualityOptions(_Options):
    """What the choice by quality needs besides."""

    calibrations: dict[str, Annotated[list[Point], Field(min_length=1)]] = {}
    """By slot: how often it is right at each confidence that it states, both rising."""
    confidences: dict[str, str] = {}
    """By slot: the output of its model that is its confidence, on any scale. If not set, the one that
    is called like a confidence, or else the largest probability, both 0 to 1."""

    def calibration(self, slot: str) -> Calibration:
        """Return what the confidences of a slot are worth."""
        points = self.calibrations.get(slot)
        if points is None:
            return AS_STATED if slot in self.confidences else Calibration()
        return Calibration([each.stated for each in points], [each.right for each in points])

    def output(self, slot: str) -> str | None:
        """Return the public name of the output that is a slot's confidence; None if not set."""
        name = self.confidences.get(slot)
        return None if name is None else public_name(name)

    @model_validator(mode="after")
    def _points_rise(self) -> Self:
        for slot, points in self.calibrations.items():
            for one, next_one in pairwise(points):
                if next_one.stated <= one.stated or next_one.right < one.right:
                    raise ValueError(f"the calibration of {slot!r} does not rise")
        return self


class CanaryOptions(_Options):
    """What a canary needs besides; the limits are those of `Limits`."""

    share: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Which part of the records is the canary's, 0 to 1."""
    by: str | None = None
    """A field of the records: all that have the same value in it go to the same side."""
    salt: str | None = None
    """Another one divides the values of `by` in another way; the canary's name if not set."""
    promote: bool = True
    """Whether it takes the reference's place once it kept to the limits for a whole window."""
    window_seconds: Annotated[float, Field(gt=0)] = 300.0
    """What is looked at: the last so many seconds."""
    records: Annotated[int, Field(ge=1)] = 1000
    """Nothing is decided on fewer of its own records in the window."""
    error_rate: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Which part of its records may fail, or be late."""
    disagreement_rate: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Which part of its answers may differ from the reference's."""
    p99_ratio: Annotated[float, Field(gt=0)] = 1.5
    """How many times the reference's its 99th percentile may be."""

    def limits(self) -> Limits:
        """Return what the canary must keep to."""
        return Limits(
            window_seconds=self.window_seconds,
            records=self.records,
            error_rate=self.error_rate,
            disagreement_rate=self.disagreement_rate,
            p99_ratio=self.p99_ratio,
            promotes=self.promote,
        )


def latest(settings: PolicySettings) -> BestInTime:
    """Return the newest model: of the one slot, or of any name if there is none."""
    NoOptions.model_validate(settings.options)
    if len(settings.slots) > 1:
        raise ValueError("slots: at most one is to be named; with none, the newest model serves")
    return BestInTime()


def deadline(settings: PolicySettings) -> BestInTime:
    """Return the best-ranked slot that answers in time; the last one is the fast fallback."""
    NoOptions.model_validate(settings.options)
    _at_least(2, settings)
    if settings.deadline_ms is None:
        raise ValueError("deadlineMs is missing")
    return BestInTime()


def majority(settings: PolicySettings) -> Majority:
    """Return what most slots say."""
    options = MajorityOptions.model_validate(settings.options)
    _at_least(2, settings)
    quorum = options.quorum or len(settings.slots) // 2 + 1
    if quorum > len(settings.slots):
        raise ValueError(f"options.quorum: {quorum} is more than there are slots")
    return Majority(quorum)


def quality(settings: PolicySettings) -> BestQuality:
    """Return the surest answer."""
    options = QualityOptions.model_validate(settings.options)
    _at_least(2, settings)
    for slot in (*options.calibrations, *options.confidences):
        if slot not in settings.slots:
            raise ValueError(f"options: {slot!r} is none of the slots")
    return BestQuality(
        [options.calibration(slot) for slot in settings.slots],
        [options.output(slot) for slot in settings.slots],
    )


def canary(settings: PolicySettings) -> Canary:
    """Return a few records for the second slot, the rest for the first."""
    options = CanaryOptions.model_validate(settings.options)
    if len(settings.slots) != 2:
        raise ValueError("slots: two are to be named, the reference and then the canary")
    if options.by is None:
        return Canary(ByShare(options.share))
    salt = settings.slots[1] if options.salt is None else options.salt
    return Canary(Sticky(options.share, field=options.by, salt=salt))


def patience_ms(settings: PolicySettings) -> float | None:
    """Return how long slots are waited for; None: as long as the asker allows."""
    if settings.deadline_ms is None and settings.policy != "latest":
        return PATIENCE_MS
    return settings.deadline_ms


def _at_least(count: int, settings: PolicySettings) -> None:
    if len(settings.slots) < count:
        raise ValueError(f"slots: at least {count} are to be named, the most trusted first")
