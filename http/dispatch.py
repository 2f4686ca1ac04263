"""Cuts the records of a request into batches, has them scored, and joins the replies."""

import asyncio
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from repertory.actors.batch import ModelRef, Outcome, PolicyReport, ScoredRecords
from repertory.actors.client import RouterClient
from repertory.actors.policies.reports import (
    RecordDecision,
    Said,
    Together,
    decisions,
    explanations,
    together,
)
from repertory.config import ClusterConfig
from repertory.errors import UnknownDataType
from repertory.http.batcher import Batcher
from repertory.http.record_body import RecordBody
from repertory.http.visitor import demand_data_type

# Batches that one request may have in flight, so that a large one leaves credit to the others.
SHARE = 4


@dataclass(frozen=True, slots=True)
class Choices:
    """How a policy chose whose answer each record of a request gets.

    `said` is what each slot said of each record, nothing unless that was asked for.
    """

    policy: Together
    decisions: Sequence[RecordDecision]
    said: Sequence[Sequence[Said]]


@dataclass(frozen=True, slots=True)
class Answered:
    """One outcome for each record of a request, in order.

    All are of one `model` version; or, where a policy chose (`choices`), of one version of it, and
    then `model` is the best-ranked one that was chosen.
    """

    model: ModelRef
    outcomes: Sequence[Outcome]
    choices: Choices | None


class Dispatcher:
    """Has the records of a request scored."""

    def __init__(self, config: ClusterConfig, router: RouterClient) -> None:
        # The router grants each connection the smallest credit of all data types.
        credit = min(each.credit for each in config.data_types.values())
        self._max_batch = {name: each.max_batch for name, each in config.data_types.items()}
        self._batchers = {
            name: Batcher(name, each, router, credit=credit)
            for name, each in config.data_types.items()
        }

    def check(self, data_type: str) -> None:
        """Raise UnknownDataType when cluster.yaml declares no such data type."""
        if data_type not in self._batchers:
            known = ", ".join(sorted(self._batchers))
            raise UnknownDataType(
                f"no data type {data_type!r} is declared in cluster.yaml; there are: {known}"
            )

    async def score(
        self,
        data_type: str,
        body: RecordBody,
        *,
        deadline: float,
        explain: bool = False,
        slot: str = "",
    ) -> Answered:
        """Return one outcome for each of at least one record.

        1. Cut the records into batches. 2. Have them scored. 3. While the model, or the policy,
        changed in between, have those scored again that another version answered than the last
        one: scoring is pure. `deadline` is a time of the loop. With `explain`, what each slot says
        is told, too. With a `slot`, that one answers where there is a policy, and no policy decides.
        Raises a RequestFailed when any batch fails whole.
        """
        demand_data_type(data_type)
        request = _Request(data_type, body, deadline, explain, slot)
        size = self._max_batch[data_type]
        batches = [slice(start, start + size) for start in range(0, len(body.items), size)]
        replies: dict[int, ScoredRecords] = {}
        due = list(range(len(batches)))
        while due:
            parts = [batches[number] for number in due]
            replies |= zip(due, await self._several(request, parts), strict=True)
            last = _answered_by(replies[due[-1]])
            due = [number for number, reply in replies.items() if _answered_by(reply) != last]
        return _joined([replies[number] for number in range(len(batches))])

    async def _several(self, request: "_Request", parts: Sequence[slice]) -> list[ScoredRecords]:
        if len(parts) == 1:
            return [await self._batch(request, parts[0])]
        share = asyncio.Semaphore(SHARE)

        async def one(part: slice) -> ScoredRecords:
            async with share:
                return await self._batch(request, part)

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(part)) for part in parts]
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        return [task.result() for task in tasks]

    async def _batch(self, request: "_Request", part: slice) -> ScoredRecords:
        return await self._batchers[request.data_type].score(
            request.body.encoded(part),
            request.body.encoding,
            deadline=request.deadline,
            explain=request.explain,
            slot=request.slot,
        )


@dataclass(frozen=True, slots=True)
class _Request:
    data_type: str
    body: RecordBody
    deadline: float
    explain: bool
    slot: str


def _answered_by(reply: ScoredRecords) -> Hashable:
    """Return what all batches of a request must have in common."""
    if reply.policy is None:
        return reply.model
    return reply.policy.policy, reply.policy.version


def _joined(replies: Sequence[ScoredRecords]) -> Answered:
    outcomes: list[Outcome] = []
    for reply in replies:
        outcomes.extend(reply.outcomes)
    choices = _choices(replies)
    model = replies[-1].model
    if choices is not None:
        # The slots are by rank.
        models = {reply.model for reply in replies}
        model = next((s.model for s in choices.policy.slots if s.model in models), None) or model
    return Answered(model, outcomes, choices)


def _choices(replies: Sequence[ScoredRecords]) -> Choices | None:
    reports: list[PolicyReport] = []
    made: list[RecordDecision] = []
    said: list[Sequence[Said]] = []
    for reply in replies:
        if reply.policy is None:
            return None
        reports.append(reply.policy)
        kinds, numbers = decisions(reply.policy, len(reply.outcomes))
        made.extend(kinds[number] for number in numbers)
        said.extend(explanations(reply.policy, len(reply.outcomes)))
    return Choices(together(reports), made, said)
