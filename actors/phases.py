"""The end of a node, in numbered phases."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum

import structlog

from repertory.config import ClusterConfig

FINISH_SECONDS, FINISH_SECONDS_AT_MOST = 2.3, 10.0

log = structlog.get_logger(__name__)


class Step(IntEnum):
    """What the phases are there for, in their order."""

    READINESS = 1
    STOP_TAKING = 2
    FINISH = 3
    COMMIT = 4
    HAND_OVER = 5
    LEAVE = 6
    STOP_ACTORS = 7
    EXIT = 8

    def __str__(self) -> str:
        return f"{self.value}, {_NAMES[self]}"


_NAMES = {
    Step.READINESS: "readiness false",  # and others begin to take over
    Step.STOP_TAKING: "stop taking",
    Step.FINISH: "finish what is in flight",
    Step.COMMIT: "commit offsets",
    Step.HAND_OVER: "hand over shards",
    Step.LEAVE: "leave",  # the other nodes are told farewell
    Step.STOP_ACTORS: "stop actors",  # and the keeper, and the broker if it is embedded
    Step.EXIT: "exit 0",
}

Task = Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Phase:
    """What is done in a phase, all of it at the same time, and how long that may take."""

    step: Step
    seconds: float
    tasks: Sequence[Task] = ()


async def shut_down(phases: Sequence[Phase]) -> None:
    """Go through the phases, one after the other; each is logged once, with the time it took.

    A phase ends when all of its tasks have, or its time is over: its tasks are then cancelled, and
    the next one begins. A task that fails is logged and holds up nothing. When this is cancelled,
    the tasks of the phase are, too, and no other phase begins.
    """
    for phase in phases:
        began = time.monotonic()
        late = await _in_time(phase)
        took = f"{time.monotonic() - began:.2f} s"
        if late:
            log.warning(
                f"phase {phase.step}: its time is over, the next one begins", took=took, late=late
            )
        else:
            log.info(f"phase {phase.step}", took=took)


async def _in_time(phase: Phase) -> int:
    """Return how many tasks were not done in time."""
    tasks = [asyncio.create_task(_guarded(task, phase.step)) for task in phase.tasks]
    if not tasks:
        return 0
    try:
        _, late = await asyncio.wait(tasks, timeout=phase.seconds)
    finally:
        for task in tasks:
            task.cancel()
    return len(late)


async def _guarded(task: Task, step: Step) -> None:
    try:
        await task()
    except Exception as error:  # noqa: BLE001 - nothing may keep a node from ending
        log.warning(f"phase {step}: a task failed", why=f"{type(error).__name__}: {error}")


def finish_seconds(config: ClusterConfig) -> float:
    """Return how long a face may take to answer what it has in hand.

    A single node is gone within five seconds of Ctrl-C. One of several nodes has the time that
    requests have, for what waits for another node.
    """
    if not config.is_cluster:
        return FINISH_SECONDS
    return max(FINISH_SECONDS, min(config.http.deadline_ms / 1000, FINISH_SECONDS_AT_MOST))
