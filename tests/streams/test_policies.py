"""Settings of topics that break promises, and those that may be meant so."""

import pytest

from repertory.config import Kafka
from repertory.streams.policies import doubts, fault

KAFKA = Kafka(bootstrap_servers="there:9092")
COMPACT = {"cleanup.policy": "compact"}


@pytest.mark.parametrize("policy", ["compact", "compact,delete"])
def test_dead_letters_may_not_be_compacted(policy: str) -> None:
    why = fault(KAFKA, "dead-letters", {"cleanup.policy": policy})
    assert why is not None
    assert "topic 'dead-letters' at there:9092 is compacted" in why
    assert why.endswith("--entity-name dead-letters --add-config cleanup.policy=delete")


@pytest.mark.parametrize(
    ("topic", "settings"),
    [
        ("dead-letters", {"cleanup.policy": "delete"}),
        ("dead-letters", {}),
        ("results", COMPACT),
        ("mdata", COMPACT),
    ],
)
def test_all_else_is_no_fault(topic: str, settings: dict[str, str]) -> None:
    assert fault(KAFKA, topic, settings) is None


@pytest.mark.parametrize(
    ("topic", "settings", "told"),
    [
        ("mdata", COMPACT, ["a newer one of its key"]),
        ("results", COMPACT, ["the newest result of each key"]),
        ("results", {"message.timestamp.type": "LogAppendTime"}, ["timestamps"]),
        ("mdata", {"message.timestamp.type": "LogAppendTime"}, []),
        ("mdata", {}, []),
    ],
)
def test_what_is_doubtful_is_told(topic: str, settings: dict[str, str], told: list[str]) -> None:
    found = list(doubts(KAFKA, topic, settings, records=["mdata"]))
    assert len(found) == len(told)
    assert all(words in doubt for words, doubt in zip(told, found, strict=True))
