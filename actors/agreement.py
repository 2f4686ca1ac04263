"""What the cluster.yaml of all nodes must have in common, as digests that can be compared."""

import base64
import hmac
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from repertory.config import ClusterConfig

# What decides how records are read, and who serves them. Batches, credit and delays may differ.
_DATA_TYPE = ("message", "features", "topics", "value_format", "replicas", "needs")
_KAFKA = (
    *("group_id", "models_topic", "results_topic", "dead_letters_topic", "mixed_topics"),
    *("delivery", "result_format"),
)
_MODELS = ("max_mb", "check_memory_mb")  # a slower host may allow more seconds
_CLUSTER = ("heartbeat_ms", "suspect_ms", "down_ms", "leaders")
_NODE = ("host", "door_port", "weight", "capabilities", "only")
# Sections of which each file may have any number. A data type must be in both; a node that only one
# file has is on its way in, or out.
_DATA_TYPES, _NODES = "data_types", "nodes"
_NAMED = 3  # keys of a disagreement that are told


def agreement(config: ClusterConfig, secret: bytes) -> dict[str, str]:
    """Return a short digest of each key that must be the same everywhere.

    They are made with the secret, so that whoever does not know it cannot try out values. No key
    that holds a secret is among them.
    """
    return {key: _digest(secret, key, value) for key, value in _values(config)}


def disagreement(
    ours: Mapping[str, str], theirs: Mapping[str, str], their_node: str, our_node: str
) -> str | None:
    """Return a sentence that names the first keys that differ; None: the files agree.

    A key that only one side knows is of a newer version, and does not count.
    """
    absent = [f"{each} is not in node {our_node}'s" for each in _absent(theirs, ours)]
    absent += [f"{each} is not in node {their_node}'s" for each in _absent(ours, theirs)]
    differing = sorted(key for key in ours.keys() & theirs.keys() if ours[key] != theirs[key])
    found = absent + [f"{key} differs from node {our_node}'s" for key in differing]
    if not found:
        return None
    more = f", and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return f"cluster.yaml of node {their_node}: {', '.join(found[:_NAMED])}{more}"


def _absent(these: Mapping[str, str], others: Mapping[str, str]) -> list[str]:
    return sorted(_data_types(these) - _data_types(others))


def _data_types(keys: Mapping[str, str]) -> set[str]:
    return {key.rpartition(".")[0] for key in keys if key.startswith(f"{_DATA_TYPES}.")}


def _values(config: ClusterConfig) -> Iterator[tuple[str, Any]]:
    found = config.model_dump(mode="json")
    yield "journal.kind", found["journal"]["kind"]
    for section, keys in (("kafka", _KAFKA), ("models", _MODELS), ("cluster", _CLUSTER)):
        for key in keys:
            yield f"{section}.{key}", found[section][key]
    for name, node in found[_NODES].items():
        for key in _NODE:
            yield f"{_NODES}.{name}.{key}", node[key]
    for name, data_type in found[_DATA_TYPES].items():
        for key in _DATA_TYPE:
            yield f"{_DATA_TYPES}.{name}.{key}", data_type[key]
        delivery = data_type["delivery"] or found["kafka"]["delivery"]
        yield f"{_DATA_TYPES}.{name}.delivery", delivery


def _digest(secret: bytes, key: str, value: Any) -> str:
    written = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    digest = hmac.digest(secret, b"agreement\0" + key.encode() + b"\0" + written, "sha256")
    return base64.b64encode(digest[:6]).decode()
