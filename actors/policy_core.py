"""What a policy actor does, without any socket or actor: events in, frames out.

It is both the starter, which asks the slots, and the collector, which decides: one process, so that
a batch makes one hop less. The shell in policy_actor.py feeds it and sends its `outbox`.
"""

import itertools
import math
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repertory.actors.batch import (
    ModelRef,
    PolicyReport,
    RecordFailed,
    SlotState,
    decode_columns,
    decode_records,
    encode_columns,
    encode_records,
    encode_report,
)
from repertory.actors.frames import Frame
from repertory.actors.policies.active import ActivePolicy, Rows
from repertory.actors.policies.collector import Decided
from repertory.actors.policies.merging import UNANSWERED
from repertory.actors.policies.records import BatchRecords, FieldReader
from repertory.actors.target import FATAL_ATTEMPTS
from repertory.errors import FailureCode, ProtocolError
from repertory.protos.door_pb2 import Envelope, Failure, ScoredBatch

# A slot that has had a batch for this long is taken to hang in its engine.
STUCK_SECONDS = 20.0
# Of the asker's time, this part is left for the way back.
RETURN_PART = 0.05
# An asker without a deadline, or with a far one, is answered by then: its router takes an actor
# that is silent for a minute to hang.
MOST_SECONDS = 30.0
OVERDUE_SECONDS = 0.1

_SILENT = frozenset({SlotState.LATE, SlotState.FAILED})
_LOST = RecordFailed(FailureCode.UNAVAILABLE, "its serving actor died, or is not there yet")
_BUSY = RecordFailed(FailureCode.OVERLOADED, "it has as many batches in hand as it may")


Archive = Callable[[Frame, bytes], None]
"""Takes an input and its answer: the SCORE frame, the serialised ScoredBatch."""


@dataclass(frozen=True, slots=True)
class Send:
    """Instruction: send a frame to a peer."""

    peer: int
    envelope: Envelope
    payload: bytes = b""


@dataclass(slots=True)
class _Slot:
    window: int
    peer: int | None = None
    asked: dict[int, "_Asked"] = field(default_factory=dict)  # by correlation id

    @property
    def free(self) -> bool:
        return self.peer is not None and len(self.asked) < self.window


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a slot was asked for; `policy` is that of the policy that was in force then."""

    policy: ActivePolicy
    number: int
    place: int
    rows: Rows
    count: int
    at: float
    through: bool  # its reply is the answer


@dataclass(slots=True)
class _Batch:
    peer: int
    frame: Frame
    until: float
    began: float
    attempts: int = 0
    avoid: set[str] = field(default_factory=set)  # slots that had records of it alone, in vain


class PolicyCore:
    """Asks slots, gathers what they say, answers, and keeps nothing after the answer.

    A slot may have `window` batches in hand. One that is slower than the others has a full hand
    soon: it is not asked then, and counts as failed, so that nothing piles up before it.
    """

    def __init__(
        self,
        node: str,
        fields: FieldReader,
        *,
        window: int,
        archive: Archive = lambda frame, answer: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._node = node
        self._fields = fields
        self._window = window
        self._archive = archive
        self._clock = clock
        self._slots: dict[str, _Slot] = {}
        self._numbers = itertools.count(1)
        self._batches: dict[int, _Batch] = {}
        self._held: list[_Batch] = []  # while no slot is there, or no policy yet
        self._current: ActivePolicy | None = None
        self._coming: ActivePolicy | None = None
        self._impossible: str | None = None  # why there is no policy
        self._leaving: list[
            ActivePolicy
        ] = []  # policies before, with batches that are not answered
        self.outbox: list[Send] = []
        self.unneeded: list[int] = []
        """Peers that are to be disconnected: slots that no policy asks any more."""

    @property
    def policy(self) -> ActivePolicy | None:
        """The policy in force, and how it does; None before the first."""
        return self._current

    @property
    def coming(self) -> ActivePolicy | None:
        """The policy that waits for its slots to be there; None if there is none."""
        return self._coming

    @property
    def is_complete(self) -> bool:
        """Whether all slots of the policy that is coming are there."""
        return self._coming is not None and all(
            self._slots[name].peer is not None for name in self._coming.names
        )

    def prepare(self, policy: ActivePolicy) -> None:
        """Want the slots of a policy, which is to be played later."""
        self._coming = policy
        for name in policy.names:
            self._slots.setdefault(name, _Slot(self._window))

    def play(self) -> None:
        """Decide by the policy that was prepared from the next batch on; what began is as before."""
        assert self._coming is not None
        if self._current is not None:
            self._leaving.append(self._current)
        self._current, self._coming = self._coming, None
        self._try_held()

    @property
    def impossible(self) -> str | None:
        """Why all is refused; None while it is not."""
        return self._impossible if self._current is None else None

    def cannot_play(self, why: str) -> None:
        """Refuse what comes, and what waits, as long as there is no policy at all."""
        self._impossible = why
        self._try_held()

    # --- slots come and go

    def wanted(self) -> Sequence[str]:
        """Return the slots that are to be connected to."""
        return [name for name, slot in self._slots.items() if slot.peer is None]

    def slot_up(self, name: str, peer: int) -> None:
        """Note that the serving actor of a slot listens."""
        self._slots[name].peer = peer
        self._try_held()

    def closed(self, peer: int) -> str | None:
        """Note that a peer is gone; return the slot that it was."""
        for name, slot in self._slots.items():
            if slot.peer == peer:
                slot.peer = None
                asked, slot.asked = slot.asked, {}
                for each in asked.values():
                    self._failed(each, _LOST)
                return name
        self._batches = {n: each for n, each in self._batches.items() if each.peer != peer}
        self._held = [each for each in self._held if each.peer != peer]
        return None

    def stuck(self) -> list[int]:
        """Return peers of slots that have not answered for too long."""
        before = self._clock() - STUCK_SECONDS
        return [
            slot.peer
            for slot in self._slots.values()
            if slot.peer is not None and slot.asked and next(iter(slot.asked.values())).at < before
        ]

    # --- time

    def due(self) -> None:
        """Answer what is due."""
        for each in self._policies():
            for decided in each.collector.due():
                self._answer(each, decided)

    def next_deadline(self) -> float | None:
        """Return when `due` has something next; None: nobody waits."""
        deadlines = (each.collector.next_deadline() for each in self._policies())
        return min((each for each in deadlines if each is not None), default=None)

    def tick(self) -> None:
        """Give up what waits too long, and forget what is done. To be called some times a second."""
        now = self._clock()
        late = [each for each in self._held if each.until <= now]
        self._held = [each for each in self._held if each.until > now]
        # Those that go through are in no collector.
        overdue = [n for n, each in self._batches.items() if each.until + OVERDUE_SECONDS <= now]
        for batch in (*late, *map(self._batches.pop, overdue)):
            self._refuse(batch, FailureCode.DEADLINE_EXCEEDED, "no slot was there in time")
        for each in self._policies():
            each.tick()
        self._leaving = [each for each in self._leaving if not each.idle]
        known = self._policies() if self._coming is None else [*self._policies(), self._coming]
        names = {name for each in known for name in each.names}
        for name in [n for n, slot in self._slots.items() if n not in names and not slot.asked]:
            if (peer := self._slots.pop(name).peer) is not None:
                self.unneeded.append(peer)

    def _policies(self) -> list[ActivePolicy]:
        return self._leaving if self._current is None else [*self._leaving, self._current]

    # --- frames

    def score(self, peer: int, frame: Frame) -> None:
        """Start a batch."""
        now, budget = self._clock(), frame.envelope.budget_ms
        seconds = min(budget / 1000 or math.inf, MOST_SECONDS)
        self._start(_Batch(peer, frame, now + seconds * (1 - RETURN_PART), now))

    def replied(self, peer: int, frame: Frame) -> None:
        """Take a slot's reply, whenever it comes."""
        slot = next((each for each in self._slots.values() if each.peer == peer), None)
        asked = None if slot is None else slot.asked.pop(frame.envelope.correlation_id, None)
        if asked is None:
            return
        if frame.envelope.kind == Envelope.FAILURE:
            failure = Failure.FromString(frame.payload)
            self._failed(asked, RecordFailed(FailureCode(failure.code), failure.message))
            return
        if asked.through:
            self._pass_through(asked, frame.payload)
            return
        try:
            columns = decode_columns(ScoredBatch.FromString(frame.payload), asked.count)
        except ProtocolError as error:
            self._failed(asked, RecordFailed(FailureCode.INTERNAL, str(error)))
            return
        taken = (self._clock() - asked.at) * 1000
        policy = asked.policy
        decided = policy.arrived(asked.number, asked.place, columns, taken, asked.rows)
        if decided is not None:
            self._answer(policy, decided)

    def state_json(self) -> dict[str, Any]:
        """Return what `/state` says of the policy."""
        policy = None if self._current is None else self._current.as_json()
        waiting = {name: len(slot.asked) for name, slot in self._slots.items()}
        return {
            "node": self._node,
            "policy": policy,
            "inFlight": waiting,
            "open": len(self._batches),
            "held": len(self._held),
        }

    def comparison_json(self) -> dict[str, Any]:
        """Return what `/compare` says."""
        return {} if self._current is None else self._current.comparison_json()

    # --- starter

    def _start(self, batch: _Batch) -> None:
        policy = self._current
        if policy is None and self._impossible is not None:
            self._refuse(batch, FailureCode.UNAVAILABLE, self._impossible)
            return
        envelope = batch.frame.envelope
        if policy is not None and envelope.slot:
            self._start_at(policy, envelope.slot, batch)
            return
        if policy is None or not any(self._slots[each].peer for each in policy.slots):
            self._held.append(batch)
            return
        batch.attempts += 1
        number, count = next(self._numbers), envelope.count
        try:
            records = BatchRecords(batch.frame, self._fields)
            asked = policy.asks(records)
        except ProtocolError as error:
            self._refuse(batch, FailureCode.INVALID_REQUEST, str(error))
            return
        self._batches[number] = batch
        asked, instead = self._covered(policy, asked, batch.avoid)
        if not policy.passes_through or envelope.explain:
            deadline, until = policy.deadline(batch.began), batch.until
            policy.begin(number, count, asked, deadline=deadline, until=until, instead=instead)
        self._ask(policy, number, batch, asked)

    def _start_at(self, policy: ActivePolicy, name: str, batch: _Batch) -> None:
        """Ask the one slot that a batch is for: nothing is decided, nor counted as if it were."""
        if name not in policy.names:
            known = ", ".join(policy.names)
            self._refuse(
                batch, FailureCode.NOT_FOUND, f"there is no slot {name!r}; there are: {known}"
            )
        elif self._slots[name].peer is None:
            self._held.append(batch)
        else:
            batch.attempts += 1
            number, place = next(self._numbers), policy.names.index(name)
            self._batches[number] = batch
            asked = np.zeros((len(policy.names), batch.frame.envelope.count), np.bool_)
            asked[place] = True
            self._ask(policy, number, batch, asked)

    def _covered(
        self, policy: ActivePolicy, asked: NDArray[np.bool_] | None, avoid: Collection[str]
    ) -> tuple[NDArray[np.bool_] | None, NDArray[np.bool_] | None]:
        """Have the best slot that is free asked instead, for what only others were to be asked.

        Return also for which records that is; None: for none.
        """
        free = [self._slots[name].free and name not in avoid for name in policy.slots]
        if asked is None or all(free) or not any(free):
            return asked, None
        own = asked[: len(free)]
        instead: NDArray[np.bool_] = np.logical_not(np.any(own[free], axis=0))
        if not instead.any():
            return asked, None
        asked = asked.copy()
        asked[[place for place, name in enumerate(policy.names) if name in avoid]] = False
        asked[free.index(True)] |= instead
        return asked, instead

    def _ask(
        self,
        policy: ActivePolicy,
        number: int,
        batch: _Batch,
        asked: NDArray[np.bool_] | None,
    ) -> None:
        refused: list[_Asked] = []
        now = self._clock()
        is_addressed = bool(batch.frame.envelope.slot)
        through = is_addressed or (policy.passes_through and not batch.frame.envelope.explain)
        for place, name in enumerate(policy.names):
            rows = None if asked is None or asked[place].all() else np.flatnonzero(asked[place])
            if rows is not None and not len(rows):
                continue
            slot = self._slots[name]
            count = batch.frame.envelope.count if rows is None else len(rows)
            own = _Asked(policy, number, place, rows, count, now, through)
            if not slot.free:
                refused.append(own)
                continue
            assert slot.peer is not None
            correlation = next(self._numbers)
            slot.asked[correlation] = own
            until = policy.until(place, batch.began, batch.until)
            envelope = Envelope(
                kind=Envelope.SCORE,
                correlation_id=correlation,
                data_type=batch.frame.envelope.data_type,
                count=count,
                budget_ms=max(1, round((until - now) * 1000)),
                encoding=batch.frame.envelope.encoding,
            )
            self.outbox.append(Send(slot.peer, envelope, _payload(batch.frame, rows)))
        for each in refused:
            is_there = self._slots[policy.names[each.place]].peer is not None
            self._failed(each, _BUSY if is_there else _LOST)

    def _try_held(self) -> None:
        held, self._held = self._held, []
        for batch in held:
            self._start(batch)

    # --- collector

    def _failed(self, asked: _Asked, why: RecordFailed) -> None:
        if asked.through:
            if (batch := self._batches.pop(asked.number, None)) is not None:
                self._unanswered(batch, why)
            return
        milliseconds = (self._clock() - asked.at) * 1000
        decided = asked.policy.failed(asked.number, asked.place, why, milliseconds)
        if decided is not None:
            self._answer(asked.policy, decided)

    def _answer(self, policy: ActivePolicy, decided: Decided) -> None:
        batch = self._batches.pop(decided.number, None)
        explain = batch is not None and batch.frame.envelope.explain
        report = policy.close(decided, explain=explain)
        if batch is None:
            return  # its asker is gone
        if decided.columns is None:
            self._unanswered(batch, decided.failure)
            return
        if self._asks_others(policy, batch, decided):
            self._start(batch)
            return
        columns = replace(decided.columns, policy=_with_silent(report, batch.avoid))
        failures, count = len(columns.failures), columns.count
        policy.statistics.count(report, self._taken(batch), failures, count)
        self._scored(policy, batch, encode_columns(columns).SerializeToString())

    def _asks_others(self, policy: ActivePolicy, batch: _Batch, decided: Decided) -> bool:
        """Return whether others can be asked for records that only slots had which say nothing."""
        assert decided.columns is not None
        if not any(each is UNANSWERED for each in decided.columns.failures.values()):
            return False
        states = zip(policy.slots, decided.states, strict=True)
        batch.avoid |= {name for name, state in states if state in _SILENT}
        others = (self._slots[name] for name in policy.slots if name not in batch.avoid)
        return batch.attempts < FATAL_ATTEMPTS and any(slot.free for slot in others)

    def _unanswered(self, batch: _Batch, failure: RecordFailed | None) -> None:
        """Ask again where slots died under a batch; tell the asker otherwise."""
        if failure is not None and failure.code == FailureCode.UNAVAILABLE:
            if batch.attempts < FATAL_ATTEMPTS:
                self._start(batch)
                return
            failure = RecordFailed(
                FailureCode.INTERNAL, f"all slots died {batch.attempts} times with this batch"
            )
        if failure is None:
            failure = RecordFailed(FailureCode.DEADLINE_EXCEEDED, "no slot answered in time")
        self._refuse(batch, failure.code, failure.message)

    def _pass_through(self, asked: _Asked, payload: bytes) -> None:
        """Answer with what the only slot says, and the report: protobuf reads both as one message."""
        policy = asked.policy
        batch = self._batches.pop(asked.number, None)
        if batch is None:
            return
        if batch.frame.envelope.slot:
            self._reply(batch, Envelope.SCORED, payload)
            return
        scored = ScoredBatch.FromString(payload)
        model = ModelRef(scored.model_name, scored.model_version, scored.model_sha256)
        report = policy.report_of_only(model)
        policy.statistics.count(report, self._taken(batch), len(scored.failures), asked.count)
        whole = payload + ScoredBatch(policy=encode_report(report)).SerializeToString()
        self._scored(policy, batch, whole)

    def _scored(self, policy: ActivePolicy, batch: _Batch, payload: bytes) -> None:
        self._reply(batch, Envelope.SCORED, payload)
        if policy.settings.decoy:
            self._archive(batch.frame, payload)

    def _taken(self, batch: _Batch) -> float:
        return (self._clock() - batch.began) * 1000

    def _refuse(self, batch: _Batch, code: FailureCode, message: str) -> None:
        payload = Failure(code=code, message=message).SerializeToString()
        self._reply(batch, Envelope.FAILURE, payload)

    def _reply(self, batch: _Batch, kind: Envelope.Kind, payload: bytes) -> None:
        number = batch.frame.envelope.correlation_id
        self.outbox.append(Send(batch.peer, Envelope(kind=kind, correlation_id=number), payload))


def _with_silent(report: PolicyReport, silent: Collection[str]) -> PolicyReport:
    """Return a report that tells of slots which were asked before, and said nothing."""
    if not silent:
        return report
    slots = (
        replace(each, state=SlotState.LATE) if each.slot in silent else each
        for each in report.slots
    )
    return replace(report, slots=tuple(slots))


def _payload(frame: Frame, rows: Rows) -> bytes:
    if rows is None:
        return bytes(frame.payload)
    records = decode_records(frame.payload, frame.envelope.count)
    return encode_records([records[row] for row in rows.tolist()])
