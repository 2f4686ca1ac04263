"""The settings of a topic: which there are, which of their values this broker honours."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from repertory.streams.devbroker.protocol import ErrorCode, Refused

_WEEK_MS = "604800000"
_NEVER_MS = "9223372036854775807"
_MEBIBYTE = 1024 * 1024


@dataclass(frozen=True)
class _Setting:
    default: str
    valid: Callable[[str], bool]
    expected: str


def _whole(default: str, least: int) -> _Setting:
    def valid(text: str) -> bool:
        return text.removeprefix("-").isdecimal() and int(text) >= least

    return _Setting(default, valid, f"a whole number, at least {least}")


def _choice(default: str, *others: str) -> _Setting:
    allowed = (default, *others)
    return _Setting(default, lambda text: text in allowed, " or ".join(allowed))


def _share(text: str) -> bool:
    try:
        return 0 <= float(text) <= 1
    except ValueError:
        return False


def _policies(text: str) -> bool:
    names = [name.strip() for name in text.split(",")]
    return set(names) <= {"delete", "compact"} and len(set(names)) == len(names)


# What the broker acts upon, and settings of Apache Kafka's that it accepts so that code written
# for Kafka runs, although they change nothing on a single node that writes each batch at once.
_SETTINGS: Mapping[str, _Setting] = MappingProxyType(
    {
        "cleanup.policy": _Setting("delete", _policies, "delete, compact or delete,compact"),
        "retention.ms": _whole(_WEEK_MS, -1),
        "retention.bytes": _whole("-1", -1),
        "segment.bytes": _whole(str(64 * _MEBIBYTE), 1024),
        "segment.ms": _whole(_WEEK_MS, 1),
        "max.message.bytes": _whole("1048588", 0),
        "delete.retention.ms": _whole("86400000", 0),
        "min.cleanable.dirty.ratio": _Setting("0.5", _share, "a number from 0 to 1"),
        "min.compaction.lag.ms": _whole("0", 0),
        "max.compaction.lag.ms": _whole(_NEVER_MS, 1),
        # One value only:
        "compression.type": _choice("producer"),
        "message.timestamp.type": _choice("CreateTime"),
        # Accepted, without effect:
        "min.insync.replicas": _whole("1", 1),
        "file.delete.delay.ms": _whole("60000", 0),
        "flush.messages": _whole(_NEVER_MS, 1),
        "flush.ms": _whole(_NEVER_MS, 0),
        "index.interval.bytes": _whole("4096", 0),
        "message.timestamp.after.max.ms": _whole(_NEVER_MS, 0),
        "message.timestamp.before.max.ms": _whole(_NEVER_MS, 0),
        "preallocate": _choice("false", "true"),
        "segment.index.bytes": _whole("10485760", 4),
        "segment.jitter.ms": _whole("0", 0),
        "unclean.leader.election.enable": _choice("false", "true"),
    }
)


def check(name: str, value: str) -> None:
    """Raise Refused(INVALID_CONFIG) unless this broker knows the setting and honours the value."""
    setting = _SETTINGS.get(name)
    if setting is None:
        raise Refused(
            ErrorCode.INVALID_CONFIG, f"the development broker knows no topic setting {name!r}"
        )
    if not setting.valid(value):
        raise Refused(
            ErrorCode.INVALID_CONFIG,
            f"{name}={value!r}: the development broker expects {setting.expected}",
        )


class TopicConfig:
    """The settings of one topic; `own` holds those that are not the default."""

    def __init__(self, own: Mapping[str, str] = MappingProxyType({})) -> None:
        self.own: dict[str, str] = {}
        self.replace(own)

    def replace(self, own: Mapping[str, str]) -> None:
        """Take these settings instead, all or none. Raises Refused(INVALID_CONFIG)."""
        for name, value in own.items():
            check(name, value)
        self.own = dict(own)

        def whole(name: str) -> int:
            return int(self[name])

        policies = self["cleanup.policy"]
        self.compacts = "compact" in policies
        self.deletes = "delete" in policies
        self.retention_ms = _limit(whole("retention.ms"))
        self.retention_bytes = _limit(whole("retention.bytes"))
        self.segment_bytes = whole("segment.bytes")
        self.segment_ms = whole("segment.ms")
        self.max_message_bytes = whole("max.message.bytes")
        self.delete_retention_ms = whole("delete.retention.ms")
        self.dirty_ratio = float(self["min.cleanable.dirty.ratio"])
        self.min_lag_ms = whole("min.compaction.lag.ms")
        self.max_lag_ms = whole("max.compaction.lag.ms")

    def __getitem__(self, name: str) -> str:
        return self.own.get(name) or _SETTINGS[name].default

    def all(self) -> dict[str, str]:
        """Return each setting's value in force, by name."""
        return {name: self[name] for name in sorted(_SETTINGS)}


def _limit(value: int) -> float:
    return math.inf if value < 0 else value
