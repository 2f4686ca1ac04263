"""What is raised in a call becomes its status."""

from pathlib import Path

import pytest
from grpc import StatusCode

from repertory.errors import REQUEST_FAILURES, RequestFailed
from repertory.http.grpc_calls import STATUSES, failure
from repertory.http.spool import Spool


@pytest.mark.parametrize("error", REQUEST_FAILURES)
def test_every_failure_has_a_status(error: type[RequestFailed]) -> None:
    failed = failure(error("why"), "S/M")
    assert (failed.code, failed.message) == (STATUSES[error], "why")


def test_a_model_that_is_too_large_is_told_so(tmp_path: Path) -> None:
    with (
        pytest.raises(Exception, match="Too Large") as raised,
        Spool(tmp_path, max_mb=1) as spool,
    ):
        spool.open().write(bytes(2_000_000))
    failed = failure(raised.value, "S/M")
    assert (failed.code, "models.max_mb" in failed.message) == (StatusCode.RESOURCE_EXHAUSTED, True)


def test_what_nobody_foresaw_is_a_defect_that_is_logged(capsys: pytest.CaptureFixture[str]) -> None:
    failed = failure(ZeroDivisionError("division by zero"), "S/M")
    assert (failed.code, "division by zero" in failed.message) == (StatusCode.INTERNAL, True)
    assert "a call failed" in capsys.readouterr().out
