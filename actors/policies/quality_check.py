"""Whether the models of a policy's slots say how sure they are, told before they are asked."""

from collections.abc import Mapping

from pydantic import ValidationError

from repertory.actors.policies.kinds import QualityOptions
from repertory.actors.policies.settings import PolicySettings, faults
from repertory.errors import InvalidRequest
from repertory.models.model import Signature
from repertory.models.names import is_confidence


def check_confidences(settings: PolicySettings, signatures: Mapping[str, Signature]) -> None:
    """Refuse a choice by quality whose slots cannot say how sure they are. Raises InvalidRequest.

    `signatures` are those of the models on stage, by slot; a slot without one is not judged. Other
    policies than `quality` need no confidence. Pure.
    """
    if settings.policy != "quality":
        return
    try:
        options = QualityOptions.model_validate(settings.options)
    except ValidationError as error:
        raise InvalidRequest(f"options.{faults(error)}") from error
    for slot in settings.slots:
        if slot in signatures:
            _check(slot, signatures[slot], options.output(slot))


def _check(slot: str, signature: Signature, output: str | None) -> None:
    extras = signature.extra_names()
    beside = ", ".join(extras) or "none"
    if output is not None and output not in extras:
        raise InvalidRequest(
            f"options.confidences.{slot}: the model of slot {slot!r} has no output {output!r}"
            f" beside its answer; it has: {beside}"
        )
    if output is None and not (signature.probabilities_output or any(map(is_confidence, extras))):
        raise InvalidRequest(
            f"slot {slot!r} cannot say how sure it is: its model gives no probabilities, and no output"
            f" that is called like a confidence (outputs beside its answer: {beside}); publish one"
            f" that does, or name an output in options.confidences.{slot}"
        )
