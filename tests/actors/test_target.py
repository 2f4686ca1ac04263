"""A target hands out jobs within its window, and takes back what died with its process."""

from repertory.actors.frames import Frame
from repertory.actors.target import FATAL_ATTEMPTS, Job, Target
from repertory.protos.door_pb2 import Envelope

INF = float("inf")


def batch(number: int, *, client: int = 1, deadline: float = INF) -> Job:
    return Job(client, Frame(Envelope(kind=Envelope.SCORE, correlation_id=number), b""), deadline)


def question(number: int) -> Job:
    return Job(1, Frame(Envelope(kind=Envelope.ASK, correlation_id=number), b""), INF)


def target(*jobs: Job, window: int = 2, up: bool = True) -> Target:
    made = Target("wine", window)
    made.peer = 7 if up else None
    for job in jobs:
        made.add(job)
    return made


def numbers(jobs: list[Job]) -> list[int]:
    return [job.frame.envelope.correlation_id for job in jobs]


def dispatched(of: Target, now: float = 0.0) -> list[int]:
    return numbers([job for _, job in of.dispatch(now)])


def test_jobs_wait_while_there_is_no_process() -> None:
    wine = target(batch(1), up=False)
    assert dispatched(wine) == []
    wine.peer = 7
    assert dispatched(wine) == [1]


def test_no_more_batches_are_in_flight_than_the_window_holds() -> None:
    wine = target(batch(1), batch(2), batch(3))
    first, second = [number for number, _ in wine.dispatch(0)]
    assert first != second
    assert (wine.waiting, wine.flying) == (1, 2)
    wine.finish(first)
    assert dispatched(wine) == [3]


def test_questions_need_no_window() -> None:
    wine = target(batch(1), question(2), question(3), window=1)
    assert dispatched(wine) == [1, 2, 3]


def test_a_reply_is_for_one_job_and_a_second_reply_for_none() -> None:
    wine = target(batch(1))
    [(number, job)] = wine.dispatch(0)
    assert wine.finish(number) is job
    assert wine.finish(number) is None
    assert wine.finish(999) is None


def test_what_was_in_flight_is_sent_again_in_order_before_what_waited() -> None:
    wine = target(batch(1), batch(2), batch(3))
    list(wine.dispatch(0))
    assert wine.lost() == []
    wine.peer = 8
    assert dispatched(wine) == [1, 2]
    assert wine.waiting == 1


def test_a_reply_of_the_dead_process_is_for_nobody() -> None:
    wine = target(batch(1))
    [(old, _)] = wine.dispatch(0)
    wine.lost()
    wine.peer = 8
    [(new, _)] = wine.dispatch(0)
    assert new != old
    assert wine.finish(old) is None


def test_a_batch_that_was_there_at_every_death_is_given_up() -> None:
    wine = target(batch(1), question(2))
    for _ in range(FATAL_ATTEMPTS - 1):
        list(wine.dispatch(0))
        assert wine.lost() == []
        wine.peer = 8
    list(wine.dispatch(0))
    assert numbers(wine.lost()) == [1]
    assert wine.waiting == 1  # the question is not to blame


def test_a_waiting_job_expires_at_its_deadline_and_the_others_stay() -> None:
    wine = target(batch(1, deadline=5), batch(2, deadline=9), batch(3), up=False)
    assert numbers(wine.expire(4.9)) == []
    assert numbers(wine.expire(5)) == [1]
    wine.peer = 7
    assert dispatched(wine) == [2, 3]


def test_what_a_vanished_client_had_queued_is_dropped() -> None:
    wine = target(batch(1, client=1), batch(2, client=2), up=False)
    wine.forget_client(1)
    wine.peer = 7
    assert dispatched(wine) == [2]


def test_the_oldest_batch_in_flight_is_known_and_questions_do_not_count() -> None:
    wine = target(question(1), batch(2))
    assert wine.oldest_flying() is None
    list(wine.dispatch(3.5))
    wine.add(batch(3))
    list(wine.dispatch(4.5))
    assert wine.oldest_flying() == 3.5
