"""What all cluster.yaml must have in common is compared key by key, without telling values."""

from typing import Any

import pytest

from repertory.actors.agreement import agreement, disagreement
from repertory.config import parse_config

SECRET = b"a secret of some length"


def document() -> dict[str, Any]:
    return {
        "nodes": {"a": {"host": "10.0.0.1"}, "b": {"host": "10.0.0.2"}},
        "journal": {"kind": "kafka"},
        "kafka": {"bootstrap_servers": "broker:9092", "password": "swordfish"},
        "cluster": {"secret": "0123456789abcdef"},
        "data_types": {
            "wine": {"message": "wine_pb2:Wine", "features": ["pH", "alcohol"], "topics": ["wines"]}
        },
    }


def digests(**changes: Any) -> dict[str, str]:
    """Return the agreement of the document with changes: `a__b=c` sets `a.b`."""
    found = document()
    for place, value in changes.items():
        *parents, last = place.split("__")
        section = found
        for parent in parents:
            section = section.setdefault(parent, {})
        section[last] = value
    return agreement(parse_config(found), SECRET)


def between(ours: dict[str, str], theirs: dict[str, str]) -> str | None:
    return disagreement(ours, theirs, "b", "a")


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("data_types__wine__features", ["alcohol", "pH"]),
        ("data_types__wine__message", "wine_pb2:Whine"),
        ("data_types__wine__replicas", 2),
        ("data_types__wine__needs", {"gpu": True}),
        ("data_types__wine__topics", ["vines"]),
        ("data_types__wine__value_format", "json"),
        ("data_types__wine__delivery", "exactly-once"),
        ("kafka__models_topic", "other"),
        ("kafka__group_id", "other"),
        ("models__max_mb", 1),
        ("cluster__down_ms", 9000),
        ("cluster__leaders", ["b"]),
        ("nodes__b__host", "10.0.0.3"),
        ("nodes__b__weight", 2),
        ("nodes__b__only", ["wine"]),
        ("nodes__a__capabilities", {"gpu": True}),
    ],
)
def test_what_must_agree_is_named_when_it_does_not(place: str, value: object) -> None:
    key = place.replace("__", ".")
    told = between(digests(), digests(**{place: value}))
    assert told == f"cluster.yaml of node b: {key} differs from node a's"


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("data_dir", "elsewhere"),
        ("kafka__bootstrap_servers", "alias:9092"),
        ("kafka__password", "other"),
        ("cluster__secret", "another 0123456789"),
        ("models__roots", ["/models"]),
        ("http__port", 80),
        ("nodes__b__http_port", 80),
        ("data_types__wine__credit", 1),
        ("log_level", "debug"),
        ("snapshots__url", "file:///snapshots"),
    ],
)
def test_what_may_differ_from_host_to_host_does(place: str, value: object) -> None:
    assert between(digests(), digests(**{place: value})) is None


def test_a_delivery_counts_as_it_is_in_force() -> None:
    assert between(digests(), digests(data_types__wine__delivery="at-least-once")) is None


def test_a_node_that_only_one_file_names_is_no_disagreement() -> None:
    more = digests(nodes__c={"host": "10.0.0.4"})
    assert between(digests(), more) is None
    assert between(more, digests()) is None


def test_a_data_type_that_only_one_file_has_is_one() -> None:
    more = digests(data_types__beer={"message": "beer_pb2:Beer", "features": ["ibu"]})
    assert between(digests(), more) == (
        "cluster.yaml of node b: data_types.beer is not in node a's"
    )
    assert between(more, digests()) == (
        "cluster.yaml of node b: data_types.beer is not in node b's"
    )


def test_a_key_that_only_a_newer_version_has_does_not_count() -> None:
    assert between(digests(), {**digests(), "cluster.telepathy": "x"}) is None


def test_of_many_keys_the_first_three_are_named() -> None:
    told = between(digests(), dict.fromkeys(digests(), "other"))
    assert told is not None
    assert told.startswith("cluster.yaml of node b: cluster.down_ms differs from node a's, ")
    assert told.endswith(f", and {len(digests()) - 3} more")


def test_no_key_tells_a_secret_or_its_digest() -> None:
    assert not [key for key in digests() if "secret" in key or "password" in key]


def test_values_cannot_be_tried_out_without_the_secret() -> None:
    config = parse_config(document())
    ours, theirs = agreement(config, SECRET), agreement(config, b"another")
    assert not [key for key in ours if ours[key] == theirs[key]]
