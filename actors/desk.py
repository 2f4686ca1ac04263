"""Who asks a router, and the replies that they get. Pure."""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from repertory.actors.frames import Frame
from repertory.actors.instructions import Instruction, Send
from repertory.actors.target import Job, Target
from repertory.errors import FailureCode
from repertory.protos.door_pb2 import Envelope, Failure


@dataclass(slots=True)
class Client:
    """Who came in through a door: a face, the keeper, or another node's router."""

    node: str = ""  # of a router
    batches: Counter[str] = field(default_factory=Counter)  # in hand here, by data type


class Desk:
    """Takes jobs in, sends them to targets, and passes replies back."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.clients: dict[int, Client] = {}
        self.outbox: list[Instruction] = []

    def job(self, peer: int, frame: Frame) -> Job:
        """Return the job that a frame asks for."""
        budget = frame.envelope.budget_ms
        deadline = self.clock() + budget / 1000 if budget else math.inf
        return Job(peer, frame, deadline)

    def dispatch(self, target: Target) -> None:
        """Send what a target can take now; answer what is too late for it."""
        now = self.clock()
        for number, job in target.dispatch(now):
            assert target.peer is not None
            left = job.deadline - now
            if left <= 0:
                target.finish(number)
                self.late(job, target.name)
                continue
            envelope = Envelope()
            envelope.CopyFrom(job.frame.envelope)
            envelope.correlation_id = number
            envelope.budget_ms = 0 if left == math.inf else max(1, int(left * 1000))
            envelope.forwarded = target.is_remote
            self.outbox.append(Send(target.peer, envelope, job.frame.payload))

    def pass_back(self, job: Job, kind: Envelope.Kind, payload: bytes, position: int = 0) -> None:
        """Give a job's reply to who asked; to nobody, if that one is gone."""
        if job.taker is not None:
            job.taker(kind, payload)
            return
        client = self.clients.get(job.client)
        if client is None:
            return
        if job.is_batch:
            client.batches[job.frame.envelope.data_type] -= 1
        number = job.frame.envelope.correlation_id
        envelope = Envelope(kind=kind, correlation_id=number, position=position)
        self.outbox.append(Send(job.client, envelope, payload))

    def fail(self, job: Job, code: FailureCode, message: str) -> None:
        """Answer a job that was taken in: it failed."""
        payload = Failure(code=code, message=message).SerializeToString()
        self.pass_back(job, Envelope.FAILURE, payload)

    def late(self, job: Job, name: str) -> None:
        """Answer a job whose deadline has passed."""
        self.fail(job, FailureCode.DEADLINE_EXCEEDED, f"{name} was not free in time")

    def refuse(self, job: Job, code: FailureCode, message: str) -> None:
        """Answer a job that was never counted against its client's credit."""
        self.failure(job.client, job.frame.envelope.correlation_id, code, message)

    def failure(self, peer: int, number: int, code: FailureCode, message: str) -> None:
        """Answer a frame: it failed."""
        envelope = Envelope(kind=Envelope.FAILURE, correlation_id=number)
        payload = Failure(code=code, message=message).SerializeToString()
        self.outbox.append(Send(peer, envelope, payload))

    def answer(self, peer: int, number: int, data: Mapping[str, Any]) -> None:
        """Answer a question."""
        envelope = Envelope(kind=Envelope.ANSWER, correlation_id=number)
        self.outbox.append(Send(peer, envelope, orjson.dumps(data)))

    def send(self, peer: int, envelope: Envelope, payload: bytes = b"") -> None:
        """Send a frame."""
        self.outbox.append(Send(peer, envelope, payload))

    def tell(self, peer: int, subject: str, payload: bytes = b"{}") -> None:
        """Tell a peer something that wants no reply."""
        self.send(peer, Envelope(kind=Envelope.TELL, subject=subject), payload)
