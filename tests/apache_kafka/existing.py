"""A Kafka cluster that somebody else runs: the one that REPERTORY_TEST_KAFKA names."""

from typing import NoReturn

import pytest

VARIABLE = "REPERTORY_TEST_KAFKA"


class ExistingCluster:
    """A cluster in the place of ApacheKafka. Tests that would stop it are skipped, and say so."""

    def __init__(self, bootstrap_servers: str) -> None:
        self.bootstrap_servers = bootstrap_servers

    def start(self) -> NoReturn:
        """Skip the test."""
        pytest.skip(f"this test stops its brokers; unset {VARIABLE} to run it")

    def stop(self) -> NoReturn:
        """Skip the test."""
        self.start()

    def kill(self) -> NoReturn:
        """Skip the test."""
        self.start()

    def restart(self) -> NoReturn:
        """Skip the test."""
        self.start()

    def pause(self) -> NoReturn:
        """Skip the test."""
        self.start()

    def resume(self) -> NoReturn:
        """Skip the test."""
        self.start()
