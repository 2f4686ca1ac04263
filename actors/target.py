"""A process that the router forwards to: a serving actor, or the keeper.

What is in flight when it dies goes back to the head of the queue, in order, and is sent again to
its successor: scoring is pure, and questions are idempotent.
"""

import itertools
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from repertory.actors.frames import Frame
from repertory.protos.door_pb2 import Envelope

# A batch that was in flight at this many deaths is held to be their cause, and is failed.
FATAL_ATTEMPTS = 3


@dataclass(slots=True)
class Job:
    """A batch or a question that a client of the router waits for."""

    client: int  # peer
    frame: Frame
    deadline: float  # monotonic seconds; inf: none
    taker: Callable[[Envelope.Kind, bytes], None] | None = None  # who gets the reply instead
    attempts: int = 0
    sent_at: float = 0.0

    @property
    def is_batch(self) -> bool:
        """Whether this is a batch of records, which needs credit, and not a question."""
        return self.frame.envelope.kind == Envelope.SCORE


class Target:
    """The queue before one process, and what it has in hand.

    `numbers` are the correlation ids, which are to be unique on its connection.
    """

    def __init__(
        self, name: str, window: int, *, numbers: Iterator[int] | None = None, remote: bool = False
    ) -> None:
        self.name = name
        self.is_remote = remote
        self.peer: int | None = None
        self._window = window
        self._waiting: deque[Job] = deque()
        self._flying: dict[int, Job] = {}
        self._batches_flying = 0
        self._numbers = itertools.count(1) if numbers is None else numbers

    def add(self, job: Job) -> None:
        """Queue a job; `dispatch` hands it out."""
        self._waiting.append(job)

    def hand_over(self, successor: "Target") -> None:
        """Give what is queued to another target; what is in flight finishes here."""
        successor._waiting.extend(self._waiting)
        self._waiting.clear()

    def dispatch(self, now: float) -> Iterator[tuple[int, Job]]:
        """Yield the jobs to send now, each with the correlation id to send it under."""
        while self.peer is not None and self._waiting:
            if self._waiting[0].is_batch:
                if self._batches_flying >= self._window:
                    return
                self._batches_flying += 1
            job = self._waiting.popleft()
            if not self.is_remote:  # whose router counts itself what it dies of
                job.attempts += 1
            job.sent_at = now
            number = next(self._numbers)
            self._flying[number] = job
            yield number, job

    def finish(self, number: int) -> Job | None:
        """Return the job that a reply is for; None for a reply that nobody waits for any more."""
        job = self._flying.pop(number, None)
        if job is not None and job.is_batch:
            self._batches_flying -= 1
        return job

    def lost(self) -> list[Job]:
        """Take everything in flight back; return the batches that were there too often."""
        self.peer = None
        flying = list(self._flying.values())
        self._flying.clear()
        self._batches_flying = 0
        fatal = [job for job in flying if job.is_batch and job.attempts >= FATAL_ATTEMPTS]
        self._waiting.extendleft(reversed([job for job in flying if job not in fatal]))
        return fatal

    def take_waiting(self) -> list[Job]:
        """Take the queued batches back; questions stay."""
        batches = [job for job in self._waiting if job.is_batch]
        self._waiting = deque(job for job in self._waiting if not job.is_batch)
        return batches

    def recall(self) -> list[Job]:
        """Take everything back, in flight or not, in order; it is for others to do."""
        jobs = [*self._flying.values(), *self._waiting]
        self.peer = None
        self._flying.clear()
        self._waiting.clear()
        self._batches_flying = 0
        return jobs

    def expire(self, now: float) -> list[Job]:
        """Drop and return the queued jobs whose deadline has passed."""
        if all(job.deadline > now for job in self._waiting):
            return []
        late = [job for job in self._waiting if job.deadline <= now]
        self._waiting = deque(job for job in self._waiting if job.deadline > now)
        return late

    def forget_client(self, client: int) -> None:
        """Drop what a vanished client had queued; what is in flight finishes for nobody."""
        self._waiting = deque(job for job in self._waiting if job.client != client)

    def oldest_flying(self) -> float | None:
        """Return when the oldest batch in flight was sent; None when there is none."""
        return next((job.sent_at for job in self._flying.values() if job.is_batch), None)

    @property
    def load(self) -> int:
        """How much it has to do: the jobs queued and in flight."""
        return len(self._waiting) + len(self._flying)

    @property
    def waiting(self) -> int:
        """How many jobs are queued."""
        return len(self._waiting)

    @property
    def flying(self) -> int:
        """How many jobs are in flight."""
        return len(self._flying)
