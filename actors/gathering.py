"""A question that several nodes answer: asked of all of them, merged, answered once. Pure.

Who cannot be reached just now is stood in for by what it answered last, marked as such.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
import structlog

from repertory.actors.desk import Desk
from repertory.actors.frames import Frame
from repertory.actors.merged_answers import Part, merge
from repertory.actors.merged_details import merged_details
from repertory.actors.sketches import wants_sketches
from repertory.actors.target import Job
from repertory.errors import FailureCode
from repertory.journal.clock import epoch_ms
from repertory.protos.door_pb2 import Envelope, Failure

# Actors answer in a millisecond, other nodes in two; who needs longer counts as unreachable, as
# soon as there is another one's answer. Without any, the asker's own time is used, up to a limit.
GATHER_SECONDS, LONGEST_SECONDS = 1.0, 30.0
MOST_KNOWN = 10_000

log = structlog.get_logger(__name__)

# Asks one node; the callable takes its reply.
Asker = Callable[[Job], None]


@dataclass(slots=True)
class _Gathering:
    job: Job
    key: str  # what the question is
    waiting: set[str]
    enough: float  # monotonic seconds: who has not answered then is not waited for, if another has
    deadline: float
    answers: dict[str, dict[str, Any]] = field(default_factory=dict)
    failures: dict[str, Failure] = field(default_factory=dict)
    silent: dict[str, int] = field(default_factory=dict)  # node: unreachable since, epoch ms

    def is_over(self, now: float) -> bool:
        """Return whether it has waited long enough."""
        return now >= self.deadline or (now >= self.enough and bool(self.answers))


class Gatherings:
    """Questions under way to several nodes."""

    def __init__(self, desk: Desk, own: str) -> None:
        self._desk = desk
        self._own = own
        self._under_way: list[_Gathering] = []
        self._known: OrderedDict[tuple[str, str], tuple[dict[str, Any], int]] = OrderedDict()

    def begin(self, job: Job, askers: Mapping[str, Asker], silent: Mapping[str, int]) -> None:
        """Ask each node of `askers`; `silent` ones cannot be reached, since when (epoch ms)."""
        envelope = job.frame.envelope
        key = f"{envelope.subject} {orjson.dumps(orjson.loads(job.frame.payload)).decode()}"
        now = self._desk.clock()
        gathering = _Gathering(
            job,
            key,
            set(askers),
            enough=now + GATHER_SECONDS,
            deadline=min(job.deadline, now + LONGEST_SECONDS),
            silent=dict(silent),
        )
        self._under_way.append(gathering)
        for node, ask in askers.items():
            ask(self._part(gathering, node))
        self._finish_if_complete(gathering)

    def tick(self) -> None:
        """Answer what has waited long enough."""
        now = self._desk.clock()
        for gathering in [each for each in self._under_way if each.is_over(now)]:
            for node in gathering.waiting:
                gathering.silent[node] = epoch_ms() - int(GATHER_SECONDS * 1000)
            gathering.waiting.clear()
            self._finish_if_complete(gathering)

    def _part(self, gathering: _Gathering, node: str) -> Job:
        question = Envelope()
        question.CopyFrom(gathering.job.frame.envelope)
        asked = {**orjson.loads(gathering.job.frame.payload), "sketches": True}
        frame = Frame(question, orjson.dumps(asked))

        def take(kind: Envelope.Kind, payload: bytes) -> None:
            gathering.waiting.discard(node)
            if kind == Envelope.ANSWER:
                gathering.answers[node] = orjson.loads(payload)
                self._remember(node, gathering.key, gathering.answers[node])
            elif (failure := Failure.FromString(payload)).code == FailureCode.UNAVAILABLE:
                gathering.silent[node] = epoch_ms()
            else:
                gathering.failures[node] = failure
            self._finish_if_complete(gathering)

        return Job(gathering.job.client, frame, gathering.deadline, taker=take)

    def _remember(self, node: str, key: str, answer: dict[str, Any]) -> None:
        self._known[node, key] = answer, epoch_ms()
        self._known.move_to_end((node, key))
        if len(self._known) > MOST_KNOWN:
            self._known.popitem(last=False)

    def _finish_if_complete(self, gathering: _Gathering) -> None:
        if gathering.waiting or gathering not in self._under_way:
            return
        self._under_way.remove(gathering)
        job = gathering.job
        parts = list(self._parts(gathering))
        if any(part.answer is not None for part in parts):
            self._merge(job, parts)
        elif gathering.failures:
            failure = next(iter(gathering.failures.values()))
            self._desk.pass_back(job, Envelope.FAILURE, failure.SerializeToString())
        else:
            nodes = ", ".join(sorted(gathering.silent)) or "no node"
            why = f"{nodes} would know, and cannot be reached just now"
            self._desk.fail(job, FailureCode.UNAVAILABLE, why)

    def _merge(self, job: Job, parts: list[Part]) -> None:
        subject = job.frame.envelope.subject
        try:
            answer = merge(subject, parts)
            if subject == "state" and wants_sketches(job.frame.payload):
                answer |= merged_details(parts)
            merged = orjson.dumps(answer)
        except (KeyError, TypeError, ValueError) as error:  # of a node of another version
            log.exception("answers of several nodes cannot be merged", subject=subject)
            nodes = ", ".join(part.node for part in parts)
            why = f"what {nodes} say does not go together: {type(error).__name__}: {error}"
            self._desk.fail(job, FailureCode.INTERNAL, why)
        else:
            self._desk.pass_back(job, Envelope.ANSWER, merged)

    def _parts(self, gathering: _Gathering) -> list[Part]:
        now = epoch_ms()
        parts = [Part(node, answer, now) for node, answer in gathering.answers.items()]
        parts.sort(key=lambda part: (part.node != self._own, part.node))
        for node, since in sorted(gathering.silent.items()):
            answer, as_of = self._known.get((node, gathering.key), (None, since))
            parts.append(Part(node, answer, as_of, since))
        for node, failure in gathering.failures.items():
            parts.append(Part(node, None, now, error=failure.message))
        return parts
