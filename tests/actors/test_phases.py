"""A node ends in numbered phases, each with its limit, whatever becomes of the one before."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable

import pytest
from structlog.testing import capture_logs

from repertory.actors.phases import Phase, Step, finish_seconds, shut_down
from repertory.actors.progress import Progress, ProgressOf
from repertory.config import ClusterConfig, parse_config

EARLY = [Step.READINESS, Step.STOP_TAKING, Step.FINISH]


class Diary:
    """What was done, in order."""

    def __init__(self) -> None:
        self.lines: list[object] = []

    def task(self, line: object, *, after: float = 0.0) -> Callable[[], Awaitable[None]]:
        async def done() -> None:
            await asyncio.sleep(after)
            self.lines.append(line)

        return done


@pytest.fixture
def diary() -> Diary:
    return Diary()


async def never() -> None:
    await asyncio.Event().wait()


async def fails() -> None:
    raise OSError("no such door")


async def test_phases_are_gone_through_in_order_and_each_is_logged_once(diary: Diary) -> None:
    with capture_logs() as logs:
        await shut_down([Phase(step, 5, [diary.task(step, after=0.01)]) for step in Step])
    assert diary.lines == list(Step)
    events = [each["event"] for each in logs]
    assert events[:2] == ["phase 1, readiness false", "phase 2, stop taking"]
    assert [int(each.split()[1].rstrip(",")) for each in events] == list(range(1, 9))
    assert all(each["took"].endswith(" s") for each in logs)


async def test_tasks_of_a_phase_run_at_the_same_time(diary: Diary) -> None:
    meeting = asyncio.Barrier(3)
    await shut_down([Phase(Step.FINISH, 20, [meeting.wait] * 3), Phase(Step.COMMIT, 1)])
    assert not meeting.broken
    assert meeting.n_waiting == 0


async def test_when_the_limit_is_over_the_next_phase_begins_and_the_log_says_so(
    diary: Diary,
) -> None:
    late = Phase(Step.STOP_TAKING, 0.05, [never, diary.task("in time"), never])
    began = time.monotonic()
    with capture_logs() as logs:
        await shut_down([late, Phase(Step.FINISH, 5, [diary.task("next")])])
    assert diary.lines == ["in time", "next"]
    assert 0.05 <= time.monotonic() - began < 5
    assert (logs[0]["log_level"], logs[0]["late"]) == ("warning", 2)
    assert logs[0]["event"] == "phase 2, stop taking: its time is over, the next one begins"


async def test_a_task_that_is_late_is_cancelled() -> None:
    ended = asyncio.Event()

    async def late() -> None:
        try:
            await never()
        finally:
            ended.set()

    await shut_down([Phase(Step.LEAVE, 0.01, [late])])
    async with asyncio.timeout(5):
        await ended.wait()


async def test_a_task_that_fails_is_logged_and_holds_up_nothing(diary: Diary) -> None:
    failing = Phase(Step.HAND_OVER, 5, [fails, diary.task("beside it", after=0.02)])
    with capture_logs() as logs:
        await shut_down([failing, Phase(Step.LEAVE, 5, [diary.task("next")])])
    assert diary.lines == ["beside it", "next"]
    assert logs[0]["event"] == "phase 5, hand over shards: a task failed"
    assert logs[0]["why"] == "OSError: no such door"


async def test_one_who_hastens_ends_the_phase_and_no_other_begins(diary: Diary) -> None:
    begun = asyncio.Event()

    async def slow() -> None:
        begun.set()
        await never()

    phases = [Phase(Step.FINISH, 60, [slow]), Phase(Step.COMMIT, 60, [diary.task("commit")])]
    ending = asyncio.create_task(shut_down(phases))
    async with asyncio.timeout(5):
        await begun.wait()
    ending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ending
    assert diary.lines == []


def config(**sections: object) -> ClusterConfig:
    wine = {"message": "repertory.protos.winerecord_pb2:WineRecord", "features": ["pH"]}
    return parse_config({"data_types": {"wine": wine}, **sections})


def test_one_of_several_nodes_finishes_what_may_wait_for_another() -> None:
    several = {
        "nodes": {"a": {}, "b": {"host": "127.0.0.2"}},
        "kafka": {"bootstrap_servers": "127.0.0.1:9092"},
        "journal": {"kind": "kafka"},
        "cluster": {"secret": "sixteen or more characters"},
    }
    assert finish_seconds(config()) < 3
    assert finish_seconds(config(http={"deadline_ms": 6000}, **several)) == 6
    assert finish_seconds(config(http={"deadline_ms": 60_000}, **several)) == 10


# --- how the supervisor knows how far a process is


async def test_a_phase_is_done_when_the_process_says_so_and_those_before_it_are_too() -> None:
    ours = ProgressOf()
    theirs = Progress(os.dup(ours.fileno))
    waiting = [asyncio.create_task(ours.done(step)) for step in EARLY]
    theirs.done(Step.STOP_TAKING)
    async with asyncio.timeout(5):
        await asyncio.gather(*waiting[:2])
    assert not waiting[2].done()
    theirs.done(Step.COMMIT)
    async with asyncio.timeout(5):
        await waiting[2]
    ours.close()


async def test_a_process_is_told_that_its_node_begins_to_end() -> None:
    ours, told = ProgressOf(), asyncio.Event()
    theirs = Progress(os.dup(ours.fileno))
    theirs.follow(told.set)
    ours.begin(Step.READINESS)
    async with asyncio.timeout(5):
        await told.wait()
    ours.close()


async def test_a_process_that_nobody_follows_tells_nothing() -> None:
    alone = Progress()
    alone.follow(lambda: pytest.fail("nobody can have said so"))
    alone.done(Step.COMMIT)
