"""A process notices that it did not run."""

import pytest

from repertory.streams.vigil import Frozen, Vigil


def test_a_check_that_comes_too_late_says_so_and_so_do_all_later_ones() -> None:
    times = iter([0.0, 4.0, 9.0, 14.5, 14.6])
    vigil = Vigil(5.0, clock=lambda: next(times))
    for _ in range(2):
        vigil.check()
    for _ in range(2):
        with pytest.raises(Frozen, match="did not run for 5"):
            vigil.check()
