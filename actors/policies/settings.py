"""What a policy is to be, as users write it: JSON of `PUT /policies/{dataType}` and of the journal."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from repertory.actors.policies.choice import Policy
from repertory.config import Name
from repertory.errors import InvalidRequest

ENTRY_POINTS = "repertory.policies"
"""The group of entry points by which a package adds policies: each names a `PolicyMaker`."""

MOST_SLOTS = 16


class PolicySettings(BaseModel):
    """A policy of a data type, and the slots that it has."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True
    )

    policy: Annotated[str, Field(min_length=1, max_length=64)]
    """Its kind: latest, deadline, majority, quality, canary, or one that a package adds."""
    slots: Annotated[tuple[Name, ...], Field(max_length=MOST_SLOTS)] = ()
    """Names of models, the most trusted first. A descriptor goes to the slot of its name."""
    deadline_ms: Annotated[float, Field(gt=0, le=3_600_000)] | None = None
    """How long slots are waited for, once a batch is here."""
    shadows: Annotated[tuple[Name, ...], Field(max_length=MOST_SLOTS)] = ()
    """Names of models that score everything, are compared, and never answer."""
    decoy: bool = False
    """Whether each input is archived, with its answer."""
    tolerance: Annotated[float, Field(ge=0)] = 0.0
    """By how much two values may differ and still agree, where answers are compared."""
    options: dict[str, Any] = {}
    """What this kind of policy needs besides."""

    @model_validator(mode="after")
    def _names_are_distinct(self) -> Self:
        names = [*self.slots, *self.shadows]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"{name!r} is named {names.count(name)} times")
        return self


PolicyMaker = Callable[[PolicySettings], Policy]
"""Makes a policy. Raises ValueError (pydantic's, too), saying what in the settings is wrong."""


def read_settings(text: str | bytes, *, strict: bool = False) -> PolicySettings:
    """Return the settings in a JSON object. Raises InvalidRequest, naming the key and the value.

    `strict` takes no text or truth value for a number; in a journal such may be found.
    """
    try:
        return PolicySettings.model_validate_json(text, strict=strict)
    except ValidationError as error:
        raise InvalidRequest(faults(error)) from error


def make_policy(settings: PolicySettings) -> Policy:
    """Return a new policy of these settings. Raises InvalidRequest."""
    kinds = known_policies()
    if settings.policy not in kinds:
        known = ", ".join(sorted(kinds))
        raise InvalidRequest(f"there is no policy {settings.policy!r}; there are: {known}")
    try:
        maker: PolicyMaker = kinds[settings.policy].load()
        return maker(settings)
    except ValidationError as error:
        raise InvalidRequest(f"options.{faults(error)}") from error
    except ValueError as error:
        raise InvalidRequest(f"policy {settings.policy!r}: {error}") from error
    except Exception as error:  # a package's defect is no reason for ours to fail
        what = f"{type(error).__name__}: {error}"
        raise InvalidRequest(f"policy {settings.policy!r} cannot be made: {what}") from error


@cache
def known_policies() -> Mapping[str, EntryPoint]:
    """Return all kinds of policies that are installed, by name; each names a `PolicyMaker`."""
    return {each.name: each for each in entry_points(group=ENTRY_POINTS)}


def faults(error: ValidationError) -> str:
    """Return in one line what is wrong."""
    is_whole = error.title == PolicySettings.__name__  # not only its options
    known = [to_camel(name) for name in PolicySettings.model_fields] if is_whole else []
    return "; ".join(_fault(each, known) for each in error.errors(include_url=False))


def _fault(item: Any, known: Sequence[str]) -> str:
    key = ".".join(map(str, item["loc"])) or "the settings"
    if item["type"] == "extra_forbidden":
        return f"{key}: unknown key" + (f"; there are: {', '.join(known)}" if known else "")
    if item["type"] == "missing":
        return f"{key} is missing"
    return f"{key}: {item['msg'].removeprefix('Value error, ')} (got {item['input']!r:.80})"
