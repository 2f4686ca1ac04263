"""What processes tell of themselves, and when a node is well."""

from typing import Any

import pytest

from repertory.actors.reports import STALE_SECONDS, Reports

FACE, SECOND, KEEPER = 1, 2, 3  # peers


@pytest.fixture
def reports() -> Reports:
    """A node whose Kafka face has to report."""
    return Reports({"streams"})


def greet(reports: Reports, peer: int, role: str, pid: int = 0) -> None:
    reports.greeted(peer, role=role, name=role, pid=pid)


def report(reports: Reports, peer: int, *troubles: str, now: float = 0, **data: Any) -> None:
    reports.reported(peer, {"troubles": troubles, **data}, now)


def test_who_has_not_reported_yet_is_a_trouble(reports: Reports) -> None:
    waited_for = {"streams": ["the Kafka face has not reported yet"]}
    assert reports.troubles(0) == waited_for
    greet(reports, FACE, "streams")
    assert reports.troubles(0) == waited_for
    report(reports, FACE)
    assert reports.troubles(0) == {}


def test_nobody_is_waited_for_who_need_not_report() -> None:
    reports = Reports()
    greet(reports, FACE, "streams")
    greet(reports, KEEPER, "keeper")
    assert reports.troubles(0) == {}


def test_silence_is_a_trouble_until_the_next_report(reports: Reports) -> None:
    greet(reports, FACE, "streams")
    report(reports, FACE, now=100)
    assert reports.troubles(100 + STALE_SECONDS) == {}
    silence = {"streams": ["the Kafka face has not reported for 12 s"]}
    assert reports.troubles(112) == silence
    report(reports, FACE, now=113)
    assert reports.troubles(113) == {}


def test_a_process_that_ended_is_a_trouble_until_its_successor_reports(reports: Reports) -> None:
    greet(reports, FACE, "streams")
    report(reports, FACE, "no broker answers")
    reports.gone(FACE)
    ended = "the Kafka face ended, and its successor has not reported yet"
    assert reports.troubles(0) == {"streams": [ended]}
    greet(reports, SECOND, "streams")
    report(reports, SECOND)
    assert reports.troubles(0) == {}


def test_troubles_of_all_processes_are_told_until_they_are_over(reports: Reports) -> None:
    greet(reports, FACE, "streams")
    greet(reports, KEEPER, "keeper")
    report(reports, FACE, "no broker answers at a:1", "no topic wine")
    report(reports, KEEPER, "the topic models has the wrong policy")
    assert reports.troubles(0) == {
        "streams": ["no broker answers at a:1", "no topic wine"],
        "keeper": ["the topic models has the wrong policy"],
    }
    report(reports, FACE)
    reports.reported(KEEPER, {}, 0)
    assert reports.troubles(0) == {}


def test_of_two_of_a_role_both_have_to_be_well(reports: Reports) -> None:
    for peer in (FACE, SECOND):
        greet(reports, peer, "streams")
    report(reports, FACE)
    assert reports.troubles(0) == {"streams": ["the Kafka face has not reported yet"]}
    report(reports, SECOND, "no broker answers")
    assert reports.troubles(0) == {"streams": ["no broker answers"]}


def test_two_of_one_name_are_told_apart_by_process(reports: Reports) -> None:
    for peer, pid in ((FACE, 11), (SECOND, 22)):
        greet(reports, peer, "streams", pid)
        reports.reported(peer, {"lag": pid}, 0)
        reports.measured(peer, f"lag {pid}\n")
    assert reports.by_name() == {
        "streams:streams:11": {"lag": 11},
        "streams:streams:22": {"lag": 22},
    }
    assert set(reports.texts()) == set(reports.by_name())
    reports.gone(FACE)
    assert reports.by_name() == {"streams:streams": {"lag": 22}}
    assert reports.texts() == {"streams:streams": "lag 22\n"}


def test_who_told_nothing_is_not_listed(reports: Reports) -> None:
    greet(reports, FACE, "streams")
    assert (reports.by_name(), reports.texts()) == ({}, {})


def test_strangers_are_ignored(reports: Reports) -> None:
    report(reports, 9)
    reports.measured(9, "lag 1\n")
    reports.gone(9)
    assert (reports.by_name(), reports.texts()) == ({}, {})


def test_of_several_processes_all_have_to_report() -> None:
    reports = Reports(["http", "http"])
    for peer in (FACE, SECOND):
        greet(reports, peer, "http")
    report(reports, FACE)
    missing = {"http": ["1 of 2 processes of the HTTP face have not reported yet"]}
    assert reports.troubles(0) == missing
    report(reports, SECOND)
    assert reports.troubles(0) == {}
    reports.gone(FACE)
    assert reports.troubles(0) == missing


def test_one_process_more_than_there_have_to_be_is_waited_for_by_nobody() -> None:
    reports = Reports(["http", "http"])
    for peer in (FACE, SECOND, KEEPER):
        greet(reports, peer, "http")
        if peer != KEEPER:
            report(reports, peer)
    assert reports.troubles(0) == {}
