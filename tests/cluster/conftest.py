"""What the tests with several hosts share."""

import os
from typing import NoReturn

import pytest


def do_without(reason: str) -> NoReturn:
    """Skip a test, and say why; on CI, where tests with real hosts are obligatory, fail it."""
    if os.environ.get("CI"):
        pytest.fail(f"{reason}\n(CI is set: there, real hosts are obligatory)", pytrace=False)
    pytest.skip(reason)
