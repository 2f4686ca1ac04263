"""The parts of the stream benchmark that turn counters and arrivals into numbers."""

import math
from pathlib import Path

import numpy as np
import pytest
from benchmarks.stream_drift import Drift
from benchmarks.stream_load import Schedule, latency_of
from benchmarks.stream_record import OtherSettings, Record
from benchmarks.stream_samples import Sample, whole_steps
from benchmarks.stream_table import markdown
from benchmarks.stream_trial import Result

TITLES = {"limit": ("limit", "at-least-once"), "other": ("other", "at-least-once")}


def samples(*counts: int) -> list[Sample]:
    """Return samples a second apart; each second costs half a second of CPU."""
    return [Sample(float(at), count, at / 2, 0.0) for at, count in enumerate(counts)]


def test_a_rate_is_measured_from_step_to_step() -> None:
    """Counts that move every third second give the same rate as counts that always move."""
    steps = whole_steps(samples(0, 0, 30, 30, 30, 60, 60, 60, 90, 90))
    even = whole_steps(samples(0, 10, 20, 30, 40, 50, 60))
    assert steps is not None
    assert even is not None
    assert steps.rate == even.rate == 10
    assert steps.cpu == 3.0


def test_one_step_gives_no_rate() -> None:
    """There is nothing that it could be measured against."""
    assert whole_steps(samples(0, 0, 30, 30)) is None


def test_latency_counts_the_first_arrival_of_each_record() -> None:
    """A duplicate does not count, nor what is outside the window."""
    keys = np.array([1_000_000, 2_000_000, 2_000_000, 9_000_000])
    arrivals = np.array([1.010, 2.030, 2.500, 9.5])
    latency = latency_of(keys, arrivals, 1_000_000, 2_000_000, 2)
    assert latency.p50 == pytest.approx(10)
    assert latency.p99 == pytest.approx(30)
    assert latency.missing == 0


def test_a_record_without_a_result_is_endlessly_late() -> None:
    """So a contender that loses records cannot look fast."""
    latency = latency_of(np.array([1_000_000]), np.array([1.01]), 0, 2_000_000, 2)
    assert latency.missing == 1
    assert latency.p99 == math.inf


def test_a_schedule_keeps_its_rate() -> None:
    """Each record has a time of its own, however many there are."""
    keys = Schedule(100.0, 30_000, 60_000).keys()
    assert len(set(keys.tolist())) == 60_000
    assert keys[-1] == pytest.approx(102e6, abs=100)


def test_tables_tell_medians_and_extremes() -> None:
    """And the part of the limit that a contender reaches."""
    results = [Result(n, "wine", "limit", rate=100.0) for n in (1, 2, 3)]
    results += [Result(n, "wine", "other", rate=rate) for n, rate in enumerate((40.0, 90.0, 60.0))]
    assert "| 60 (40–90) | 60% |" in markdown(results, "wine", TITLES)[-1]


def test_tables_tell_who_failed() -> None:
    """A contender that never came through has no numbers."""
    failed = Result(1, "wine", "other", failure="it has ended")
    assert "failed" in markdown([failed], "wine", TITLES)[-1]


def test_a_run_goes_on_from_its_file(tmp_path: Path) -> None:
    """What failed is tried again; an endless latency survives."""
    first = Record(tmp_path / "results.json", {"seconds": 5})
    first.add(Result(1, "wine", "limit", rate=1.0, p99_ms=math.inf))
    first.add(Result(1, "wine", "other", failure="it has ended"))
    second = Record(tmp_path / "results.json", {"seconds": 5})
    second.load()
    assert second.has(1, "wine", "limit")
    assert not second.has(1, "wine", "other")
    assert second.results[0].p99_ms == math.inf


def test_a_run_does_not_go_on_with_other_settings(tmp_path: Path) -> None:
    """Medians of runs of different lengths would mean nothing."""
    Record(tmp_path / "results.json", {"seconds": 5}).save()
    with pytest.raises(OtherSettings, match="seconds"):
        Record(tmp_path / "results.json", {"seconds": 60}).load()


@pytest.mark.parametrize(("last", "flat"), [(104, True), (106, False), (94, False)])
def test_memory_may_drift_by_a_twentieth(last: int, flat: bool) -> None:
    """Either way, from the first minute on."""
    drift = Drift()
    for minute, size in ((1, 100), (2, 101), (3, last)):
        drift.add(minute, {"face": size})
    assert drift.flat() is flat


def test_a_process_that_came_later_is_no_flat_one() -> None:
    """It stands for one that died."""
    drift = Drift()
    drift.add(1, {"face": 100})
    drift.add(2, {"face": 100, "another face": 100})
    assert not drift.flat()
