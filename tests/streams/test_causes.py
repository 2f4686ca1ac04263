"""What librdkafka says is kept but for what changes each time."""

import pytest

from repertory.streams.causes import cause_of


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (
            "127.0.0.1:9092/1: Connect failed: No (after 1ms in state CONNECT, 3 error(s) suppressed)",
            "Connect failed: No",
        ),
        (
            "sasl_plaintext://a.example:9092/1: SASL authentication error: no (after 302ms in state X)",
            "SASL authentication error: no",
        ),
        ("Broker: Topic authorization failed", "Broker: Topic authorization failed"),
    ],
)
def test_the_cause_is_what_stays(said: str, kept: str) -> None:
    assert cause_of(said) == kept
