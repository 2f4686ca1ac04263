"""How a policy chose, as results tell it: in headers, protobuf and JSON. Pure.

What a batch's records have in common is encoded once: there are few different decisions in it.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import orjson

from repertory.actors.batch import (
    Label,
    ModelRef,
    Outcome,
    PolicyReport,
    RecordFailed,
    ScoredColumns,
    SlotState,
    Value,
)
from repertory.actors.policies.reports import RecordDecision, Said, decisions, explanations
from repertory.protos.results_pb2 import ClassProbability, Decision, ScoredRecord, SlotAnswer
from repertory.protos.results_pb2 import ModelRef as ModelRefMessage
from repertory.streams.record import Headers

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Chosen:
    """How the answer of some records of a batch was chosen. `model` is whose it is."""

    report: PolicyReport
    decision: RecordDecision
    model: ModelRef

    @property
    def headers(self) -> Headers:
        """The headers that a result has beside those of its model."""
        return [
            ("policy", self.report.policy.encode()),
            ("policy-version", b"%d" % self.report.version),
            ("slot", (self.decision.slot or "").encode()),
            ("fallback", b"true" if self.decision.fallback else b"false"),
        ]

    @property
    def slack_us(self) -> int | None:
        """What was left of the policy's deadline, in microseconds."""
        seconds = self.report.slack_seconds
        return None if seconds is None else round(seconds * 1e6)

    def as_protobuf(self) -> bytes:
        """Return the fields `model` and `decision` of ScoredRecord, without the slots' answers."""
        decision = Decision(
            policy=self.report.policy,
            policy_version=self.report.version,
            slot=self.decision.slot or "",
            fallback=self.decision.fallback,
            slack_us=self.slack_us,
            **self._slots(),
        )
        model = model_message(self.model)
        return ScoredRecord(model=model, decision=decision).SerializeToString()

    def as_json(self) -> dict[str, Any]:
        """Return the key `decision` of a result, without the slots' answers."""
        slack = {} if self.slack_us is None else {"slackUs": self.slack_us}
        return {
            "policy": self.report.policy,
            "policyVersion": self.report.version,
            "slot": self.decision.slot or "",
            "fallback": self.decision.fallback,
            **self._slots(),
            **slack,
        }

    def _slots(self) -> dict[str, Any]:
        return {
            "asked": [each.slot for each in self.decision.slots],
            "arrived": self.decision.names(SlotState.ARRIVED),
            "late": self.decision.names(SlotState.LATE),
            "failed": self.decision.names(SlotState.FAILED),
        }


@dataclass(frozen=True, slots=True)
class Choices:
    """The different decisions of a batch, and for each record which of them is its own."""

    report: PolicyReport
    kinds: Sequence[Chosen]
    numbers: Sequence[int]

    @property
    def policy(self) -> tuple[str, int]:
        """The kind and the version of the policy that chose."""
        return self.report.policy, self.report.version

    def of(self, index: int) -> Chosen:
        """Return how a record's answer was chosen."""
        return self.kinds[self.numbers[index]]

    def spread(self, values: Sequence[T]) -> list[T]:
        """Return for each record the one of `values` that belongs to its decision."""
        return [values[number] for number in self.numbers]

    def count(self, *, without: Collection[int]) -> dict[ModelRef, int]:
        """Return how many records have the answer of each model; some are not counted."""
        counts = Counter(self.numbers)
        counts.subtract(self.numbers[index] for index in without)
        by_model: Counter[ModelRef] = Counter()
        for number, records in counts.items():
            by_model[self.kinds[number].model] += records
        return dict(+by_model)

    @property
    def explained(self) -> bool:
        """Whether it is known what each slot said."""
        return any(each.answer is not None for each in self.report.slots)

    def answers_protobuf(self) -> list[bytes]:
        """Return for each record the part of `decision` that says what each slot said."""
        return [_answers_message(said) for said in self._said()]

    def answers_json(self) -> list[list[dict[str, Any]]]:
        """Return for each record the key `answers` of `decision`."""
        return [
            [
                {"slot": slot.slot}
                | ({} if slot.model is None else {"model": model_json(slot.model)})
                | _outcome_json(outcome)
                for slot, outcome in said
            ]
            for said in self._said()
        ]

    def _said(self) -> list[list[Said]]:
        return explanations(self.report, len(self.numbers))


def choices_of(columns: ScoredColumns) -> Choices | None:
    """Return how the answers of a batch were chosen; None when no policy did."""
    if columns.policy is None:
        return None
    kinds, numbers = decisions(columns.policy, columns.count)
    chosen = [Chosen(columns.policy, each, each.model or columns.model) for each in kinds]
    return Choices(columns.policy, chosen, numbers)


def model_message(model: ModelRef) -> ModelRefMessage:
    """Return which model it was, as results tell it."""
    return ModelRefMessage(name=model.name, version=model.version, sha256=model.sha256)


def model_json(model: ModelRef) -> dict[str, Any]:
    """Return the same for JSON."""
    return {"name": model.name, "version": model.version, "sha256": model.sha256}


def _answers_message(said: Sequence[Said]) -> bytes:
    answers = [
        SlotAnswer(
            slot=slot.slot,
            model=None if slot.model is None else model_message(slot.model),
            **_outcome_fields(outcome),
        )
        for slot, outcome in said
    ]
    return ScoredRecord(decision=Decision(answers=answers)).SerializeToString()


def _outcome_fields(outcome: Outcome) -> dict[str, Any]:
    match outcome:
        case Value(value):
            return {"value": value}
        case RecordFailed(_, message):
            return {"error": message}
        case Label(label, probabilities):
            each = [ClassProbability(label=k, probability=v) for k, v in probabilities.items()]
            return {"label": label, "probabilities": each}


def _outcome_json(outcome: Outcome) -> dict[str, Any]:
    match outcome:
        case Value(value):
            return {"value": value}
        case RecordFailed(_, message):
            return {"error": message}
        case Label(label, probabilities):
            each = [{"label": k, "probability": v} for k, v in probabilities.items()]
            return {"label": label} | ({"probabilities": each} if each else {})


def fragment(value: Any) -> orjson.Fragment:
    """Return what is encoded once, to stand in many a document."""
    return orjson.Fragment(orjson.dumps(value))
