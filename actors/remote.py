"""Another node's router, as a target: what it has in hand of each data type. Pure."""

import itertools
from collections.abc import Iterator, Mapping

from repertory.actors.target import Job, Target
from repertory.config import DataType

# Correlation ids of one connection are told apart by their remainder: each target has its own.
_STRIDE = 1 << 20


class Remote:
    """The targets behind the link to one node: one for each data type, and one for questions."""

    def __init__(self, node: str, data_types: Mapping[str, DataType]) -> None:
        self.node = node
        self.peer: int | None = None
        self.questions = Target(f"node {node}", 0, numbers=_numbers(0), remote=True)
        self._targets = [self.questions]
        self._by_type: dict[str, Target] = {}
        for index, (name, config) in enumerate(data_types.items(), 1):
            target = Target(name, config.credit, numbers=_numbers(index), remote=True)
            self._by_type[name] = target
            self._targets.append(target)

    def target(self, data_type: str) -> Target:
        """Return the target for batches of a declared data type."""
        return self._by_type[data_type]

    def up(self, peer: int) -> None:
        """Note the connection to use."""
        self.peer = peer
        for target in self._targets:
            target.peer = peer

    def lost(self) -> list[Job]:
        """Take back whatever it had to do."""
        self.peer = None
        return [job for target in self._targets for job in target.recall()]

    def finish(self, number: int) -> tuple[Target, Job | None]:
        """Return the target and the job that a reply is for; no job if nobody waits for it."""
        index = number % _STRIDE
        target = self._targets[index] if index < len(self._targets) else self.questions
        return target, target.finish(number)

    def expire(self, now: float) -> list[tuple[str, Job]]:
        """Drop and return the queued jobs whose deadline has passed, each with what for."""
        return [(each.name, job) for each in self._targets for job in each.expire(now)]

    def forget_client(self, client: int) -> None:
        """Drop what a vanished client had queued."""
        for target in self._targets:
            target.forget_client(client)

    def targets(self) -> list[Target]:
        """Return all its targets."""
        return self._targets


def _numbers(index: int) -> Iterator[int]:
    return itertools.count(_STRIDE + index, _STRIDE)
