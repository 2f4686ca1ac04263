"""Requests share batches, and notice nothing of it but the time that it saves."""

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.http.clock_loop import run
from tests.http.numbers_router import NEVER, POISON, NumbersRouter

from repertory.actors.batch import (
    JSON,
    ModelRef,
    PolicyReport,
    ScoredRecords,
    SlotReport,
    SlotState,
    Value,
)
from repertory.config import ClusterConfig, DataType
from repertory.errors import (
    DeadlineExceeded,
    InvalidRequest,
    Overloaded,
    Unavailable,
)
from repertory.http.batcher import CREDIT_PAUSE, Batcher
from repertory.http.dispatch import Dispatcher
from repertory.http.lane import BATCH_BYTES
from repertory.http.record_body import RecordBody

MESSAGE = "repertory.protos.winerecord_pb2:WineRecord"
DELAY = 0.005


def limits(max_batch: int = 4, delay: float = DELAY, credit: int = 64) -> DataType:
    """Return a data type whose records are numbers, as far as these tests are concerned."""
    return DataType(
        message=MESSAGE,
        features=("alcohol",),
        max_batch=max_batch,
        max_delay_ms=delay * 1000,
        credit=credit,
    )


class Asker:
    """Asks a batcher."""

    def __init__(self, router: NumbersRouter, *, credit: int = 64, **options: Any) -> None:
        most_waiting = options.pop("most_waiting", 1000)
        self._batcher = Batcher(
            "wine", limits(**options), router, credit=credit, most_waiting=most_waiting
        )

    async def score(self, *numbers: int, seconds: float = 60.0, explain: bool = False) -> list[int]:
        """Have numbers scored; the scores."""
        reply = await self._batcher.score(
            [b"%d" % each for each in numbers],
            JSON,
            deadline=asyncio.get_running_loop().time() + seconds,
            explain=explain,
        )
        return [int(each.value) for each in reply.outcomes if isinstance(each, Value)]

    def later(self, *numbers: int, **options: Any) -> "asyncio.Task[list[int]]":
        """Ask in a task of its own."""
        return asyncio.create_task(self.score(*numbers, **options))


async def _turn() -> None:
    """Have all tasks do what they can do by now."""
    for _ in range(10):
        await asyncio.sleep(0)


async def _outcomes(tasks: Sequence[Awaitable[Any]]) -> list[Any]:
    return await asyncio.gather(*tasks, return_exceptions=True)


def test_who_is_alone_does_not_wait() -> None:
    async def main() -> None:
        router = NumbersRouter()
        assert await Asker(router).score(7) == [7]
        assert [each.at for each in router.sent] == [0.0]

    run(main())


def test_who_comes_at_the_same_time_shares_a_batch_from_the_first() -> None:
    async def main() -> None:
        router = NumbersRouter()
        asker = Asker(router)
        assert await _outcomes([asker.later(1), asker.later(2, 3)]) == [[1], [2, 3]]
        assert router.batches == [[1, 2, 3]]

    run(main())


def test_who_comes_while_a_batch_is_scored_leaves_together_when_it_is_done() -> None:
    async def main() -> None:
        router = NumbersRouter(0.002)
        asker = Asker(router)
        first = asker.later(1)
        await _turn()
        others = [asker.later(each) for each in (2, 3)]
        assert await _outcomes([first, *others]) == [[1], [2], [3]]
        assert [(each.at, each.records) for each in router.sent] == [(0, [1]), (0.002, [2, 3])]

    run(main())


def test_nobody_waits_for_a_slow_batch_longer_than_max_delay() -> None:
    async def main() -> None:
        router = NumbersRouter(1.0)
        asker = Asker(router)
        first = asker.later(1)
        await _turn()
        await _outcomes([first, asker.later(2), asker.later(3)])
        assert [(each.at, each.records) for each in router.sent] == [(0, [1]), (DELAY, [2, 3])]

    run(main())


def test_a_full_batch_does_not_wait() -> None:
    async def main() -> None:
        router = NumbersRouter(1.0)
        asker = Asker(router, max_batch=2)
        first = asker.later(1)
        await _turn()
        others = [asker.later(each) for each in (2, 3, 4)]
        await _outcomes([first, *others])
        assert [each.at for each in router.sent] == [0, 0, DELAY]
        assert router.batches == [[1], [2, 3], [4]]

    run(main())


def test_a_part_is_never_torn() -> None:
    async def main() -> None:
        router = NumbersRouter()
        asker = Asker(router, max_batch=4)
        assert await _outcomes([asker.later(1, 2, 3), asker.later(4, 5), asker.later(6)])
        assert router.batches == [[1, 2, 3], [4, 5, 6]]

    run(main())


def test_who_has_little_time_gives_no_more_than_half_of_it_to_waiting() -> None:
    async def main() -> None:
        router = NumbersRouter(1.0, 0.0)
        asker = Asker(router)
        first = asker.later(1)
        await _turn()
        assert await asker.score(2, seconds=0.004) == [2]
        assert await first == [1]
        assert router.sent[1].at == 0.002

    run(main())


def test_large_records_do_not_make_a_batch_too_large_for_a_frame() -> None:
    async def main() -> None:
        router = NumbersRouter()
        batcher = Batcher("wine", limits(max_batch=100), router, credit=64)
        large = b"7" + b" " * (BATCH_BYTES // 2)
        await asyncio.gather(*(batcher.score([large], JSON, deadline=60.0) for _ in range(3)))
        assert router.batches == [[7], [7], [7]]

    run(main())


def test_what_is_to_be_explained_shares_no_batch_with_what_is_not() -> None:
    async def main() -> None:
        router = NumbersRouter()
        asker = Asker(router)
        tasks = [asker.later(each, explain=each % 2 == 0) for each in range(1, 5)]
        assert await _outcomes(tasks) == [[1], [2], [3], [4]]
        assert sorted(router.batches) == [[1, 3], [2, 4]]

    run(main())


def test_a_batch_that_fails_whole_is_sent_again_one_by_one() -> None:
    async def main() -> None:
        router = NumbersRouter()
        asker = Asker(router)
        tasks = [asker.later(each) for each in (1, int(POISON), 3)]
        first, second, third = await _outcomes(tasks)
        assert (first, third) == ([1], [3])
        assert isinstance(second, InvalidRequest)
        assert router.batches == [[1, -1, 3], [1], [-1], [3]]

    run(main())


def test_who_leaves_while_sent_again_holds_up_no_other() -> None:
    async def main() -> None:
        router = NumbersRouter(0.0, NEVER, 0.0)
        asker = Asker(router)
        gone, good, _ = [asker.later(each) for each in (1, 2, int(POISON))]
        await asyncio.sleep(0.001)
        gone.cancel()
        assert await good == [2]
        assert asyncio.get_running_loop().time() == 0.001

    run(main())


def test_where_a_policy_chooses_among_several_each_request_travels_alone() -> None:
    async def main() -> None:
        model = ModelRef("forest", 3, "")
        slots = [SlotReport(each, SlotState.ARRIVED, model=model) for each in ("forest", "tree")]
        router = NumbersRouter(policy=PolicyReport("deadline", 7, tuple(slots)))
        asker = Asker(router)
        assert await _outcomes([asker.later(each) for each in (1, 2)]) == [[1], [2]]
        assert router.batches == [[1, 2], [1], [2]]
        await _outcomes([asker.later(each) for each in (3, 4)])
        assert router.batches[3:] == [[3], [4]]

    run(main())


def test_a_policy_of_one_slot_is_told_to_each_request_of_its_own_records() -> None:
    async def main() -> None:
        slot = SlotReport("forest", SlotState.ARRIVED, model=ModelRef("forest", 3, ""))
        chosen, fallback = np.array([0, -1, 0], np.int8), np.array([True, False, False])
        router = NumbersRouter(policy=PolicyReport("latest", 7, (slot,), chosen, fallback))
        batcher = Batcher("wine", limits(), router, credit=64)
        parts = ([b"1"], [b"2", b"3"])
        replies = await asyncio.gather(
            *(batcher.score(each, JSON, deadline=60.0) for each in parts)
        )
        assert router.batches == [[1, 2, 3]]
        assert [_chosen(each) for each in replies] == [
            [("forest", True)],
            [None, ("forest", False)],
        ]

    run(main())


def _chosen(reply: ScoredRecords) -> list[tuple[str, bool] | None]:
    policy = reply.policy
    assert policy is not None
    slots = map(policy.slot_of, range(len(reply.outcomes)))
    return [
        (slot.slot, policy.is_fallback(row)) if slot else None for row, slot in enumerate(slots)
    ]


def test_a_deadline_is_each_requests_own() -> None:
    async def main() -> None:
        router = NumbersRouter(1.0)
        asker = Asker(router)
        hasty, patient = asker.later(1, seconds=0.5), asker.later(2)
        with pytest.raises(DeadlineExceeded):
            await hasty
        assert asyncio.get_running_loop().time() == 0.5
        assert await patient == [2]
        assert router.batches == [[1, 2]]

    run(main())


def test_who_leaves_before_the_records_are_sent_is_taken_out() -> None:
    async def main() -> None:
        router = NumbersRouter(1.0, 0.0)
        asker = Asker(router)
        first = asker.later(1)
        await _turn()
        gone, stays = asker.later(2), asker.later(3)
        await _turn()
        gone.cancel()
        assert await stays == [3]
        assert await first == [1]
        assert router.batches == [[1], [3]]

    run(main())


def test_who_leaves_in_the_turn_in_which_others_come_takes_nobody_along() -> None:
    async def main() -> None:
        router = NumbersRouter()
        asker = Asker(router, credit=1)
        gone, stays = asker.later(1), asker.later(2)
        await asyncio.sleep(0)
        gone.cancel()
        assert await stays == [2]
        assert await asker.score(3) == [3]
        assert router.batches == [[2], [3]]

    run(main())


def test_a_batch_that_all_have_left_is_given_up() -> None:
    async def main() -> None:
        router = NumbersRouter(NEVER, 0.0)
        asker = Asker(router, credit=1)
        gone = [asker.later(each) for each in (1, 2)]
        await _turn()
        for task in gone:
            task.cancel()
        assert await asker.score(3) == [3]
        assert asyncio.get_running_loop().time() == 0.0

    run(main())


def test_who_finds_no_credit_waits_in_line_and_shares_what_comes_free() -> None:
    async def main() -> None:
        router = NumbersRouter(1.0)
        asker = Asker(router, credit=1)
        tasks = [asker.later(each) for each in range(1, 8)]
        assert await _outcomes(tasks) == [[each] for each in range(1, 8)]
        assert (router.batches, router.busiest) == ([[1, 2, 3, 4], [5, 6, 7]], 1)

    run(main())


def test_the_line_is_bounded() -> None:
    async def main() -> None:
        asker = Asker(NumbersRouter(1.0), credit=1, most_waiting=1)
        first = asker.later(1)
        await _turn()
        waiting = asker.later(2)
        await _turn()
        with pytest.raises(Overloaded, match="1 requests of 'wine' are waiting already"):
            await asker.score(3)
        assert await _outcomes([first, waiting]) == [[1], [2]]

    run(main())


def test_who_waits_too_long_is_told_and_leaves_the_line() -> None:
    async def main() -> None:
        router = NumbersRouter(1.0)
        asker = Asker(router, credit=1, most_waiting=1)
        first = asker.later(1)
        await _turn()
        for number in (2, 3):
            with pytest.raises(Overloaded, match="no batch of 'wine' could be sent"):
                await asker.score(number, seconds=0.1)
        await first
        assert router.batches == [[1]]

    run(main())


def test_what_the_router_refuses_is_sent_again_without_those_who_left() -> None:
    async def main() -> None:
        router = NumbersRouter(refusals=[0])
        asker = Asker(router)
        hasty, patient = asker.later(1, seconds=CREDIT_PAUSE / 2), asker.later(2)
        assert await patient == [2]
        with pytest.raises(Overloaded):
            await hasty
        assert router.batches == [[1, 2], [2]]

    run(main())


def test_as_long_as_there_is_no_router_each_waits_for_its_own_time() -> None:
    async def main() -> None:
        router = NumbersRouter()
        router.connected.clear()
        asker = Asker(router)
        hasty, patient = asker.later(1, seconds=0.5), asker.later(2)
        with pytest.raises(Unavailable):
            await hasty
        router.connected.set()
        assert await patient == [2]
        assert router.batches == [[2]]

    run(main())


@dataclass(frozen=True, slots=True)
class Call:
    """A request: how many records, when it comes, how long it waits, and when its client leaves."""

    size: int
    at: int
    allowed: int
    leaves: int | None
    is_bad: bool
    explain: bool


milliseconds = st.integers(0, 30)
PATIENT = 3_600_000
calls = st.lists(
    st.builds(
        Call,
        size=st.integers(1, 12),
        at=milliseconds,
        allowed=st.one_of(st.just(PATIENT), st.integers(1, 30)),
        leaves=st.one_of(st.none(), milliseconds),
        is_bad=st.sampled_from([False, False, False, True]),
        explain=st.booleans(),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=300, deadline=None)
@given(
    calls=calls,
    seconds=st.lists(st.sampled_from([0.0, 0.001, 0.004, 0.02]), min_size=1, max_size=8),
    refusals=st.lists(st.integers(0, 12), max_size=4),
    swaps=st.lists(milliseconds, max_size=2),
    max_batch=st.integers(1, 6),
    credit=st.integers(1, 3),
)
def test_replies_are_never_mixed_nor_lost_whatever_happens(
    calls: list[Call],
    seconds: list[float],
    refusals: list[int],
    swaps: list[int],
    max_batch: int,
    credit: int,
) -> None:
    async def main() -> None:
        router = NumbersRouter(
            *seconds,
            refusals=refusals,
            version=lambda now: 1 + sum(now * 1000 >= each for each in swaps),
        )
        data_type = limits(max_batch, credit=credit)
        dispatcher = Dispatcher(_config(data_type), router)
        await asyncio.gather(
            *(_call(dispatcher, number, each) for number, each in enumerate(calls))
        )
        assert router.busiest <= credit
        assert max(map(len, router.batches), default=0) <= max_batch
        await _turn()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(main())


def _config(wine: DataType) -> ClusterConfig:
    return ClusterConfig.model_validate({"nodes": {"a": {}}, "data_types": {"wine": wine}})


async def _call(dispatcher: Dispatcher, number: int, call: Call) -> None:
    """Send one request, and look whether it gets what is its own, or a failure that can be."""
    loop = asyncio.get_running_loop()
    await asyncio.sleep(call.at / 1000)
    records = [number * 100 + each for each in range(call.size)]
    body = RecordBody([*records[1:], int(POISON)] if call.is_bad else records, JSON)
    deadline = loop.time() + call.allowed / 1000
    task = asyncio.create_task(
        dispatcher.score("wine", body, deadline=deadline, explain=call.explain)
    )
    if call.leaves is not None:
        loop.call_later(call.leaves / 1000, task.cancel)
    try:
        answered = await task
    except asyncio.CancelledError:
        assert call.leaves is not None
    except InvalidRequest:
        assert call.is_bad
    except (Overloaded, DeadlineExceeded):
        assert call.allowed < PATIENT
    else:
        assert not call.is_bad
        assert list(answered.outcomes) == [Value(float(each)) for each in records]
    assert loop.time() <= deadline


@pytest.mark.usefixtures("serving")
async def test_at_a_node_requests_that_come_together_get_each_its_own(call: Any, wine: Any) -> None:
    bodies = [[wine(float(each + size)) for size in range(each % 20 + 1)] for each in range(60)]
    replies = await asyncio.gather(*(call("POST", "/score/wine", json=each) for each in bodies))
    for number, reply in enumerate(replies):
        expected = [{"value": float(number + size)} for size in range(number % 20 + 1)]
        assert reply.body["results"] == expected


@pytest.mark.usefixtures("serving")
async def test_at_a_node_a_bad_request_fails_alone(call: Any, wine: Any) -> None:
    deep: Any = {}
    for _ in range(300):
        deep = {"deeper": deep}
    bodies = [deep if each % 10 == 3 else wine(float(each)) for each in range(30)]
    replies = await asyncio.gather(*(call("POST", "/score/wine", json=each) for each in bodies))
    assert [each.status for each in replies] == [
        400 if each % 10 == 3 else 200 for each in range(30)
    ]
    good = [(number, each) for number, each in enumerate(replies) if each.status == 200]
    assert all(each.body["results"] == [{"value": float(number)}] for number, each in good)
