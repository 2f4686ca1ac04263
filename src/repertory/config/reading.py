"""Reading cluster.yaml and the environment."""

import difflib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from repertory.config.cluster import ClusterConfig
from repertory.config.data_types import DataType
from repertory.config.faces import Http, Kafka
from repertory.config.nodes import Cluster, Node
from repertory.config.stores import Decoy, Journal, Models, Snapshots
from repertory.config.values import SECRET, Section
from repertory.errors import ConfigError


def load_config(path: Path, environ: Mapping[str, str] | None = None) -> ClusterConfig:
    """Read cluster.yaml and the environment. Raises ConfigError, naming file, key and value."""
    try:
        document = yaml.safe_load(path.read_text()) or {}
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read: {error.strerror}; --config names another file"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is not YAML: {error}") from error
    if not isinstance(document, dict):
        raise ConfigError(
            f"{path}: a mapping is expected at the top, not {type(document).__name__}"
        )
    variables = {}
    for key, value in (os.environ if environ is None else environ).items():
        if key.startswith("REPERTORY_") and key not in _OTHER_VARIABLES:
            variables[_override(document, key, value)] = key
    return parse_config(document, source=str(path), variables=variables)


def parse_config(
    document: Mapping[str, Any],
    *,
    source: str = "configuration",
    variables: Mapping[tuple[str, ...], str] | None = None,
) -> ClusterConfig:
    """Validate a document. Raises ConfigError, naming source, key and value.

    `variables` tells which keys were taken from which variables of the environment.
    """
    try:
        return ClusterConfig.model_validate(document)
    except ValidationError as error:
        lines = [
            f"{_source(item['loc'], source, variables or {})}: {_fault(item)}"
            for item in error.errors(include_url=False)
        ]
        raise ConfigError("\n".join(lines)) from error


def _source(loc: Sequence[object], file: str, variables: Mapping[tuple[str, ...], str]) -> str:
    place = tuple(map(str, loc))
    for key, variable in variables.items():
        shared = min(len(key), len(place))
        if shared and key[:shared] == place[:shared]:
            return variable
    return file


def _fault(item: Any) -> str:
    loc = item["loc"]
    key = ".".join(map(str, loc)) or "top level"
    if item["type"] == "extra_forbidden":
        close = difflib.get_close_matches(str(loc[-1]), _keys_at(loc[:-1]), n=1, cutoff=0.5)
        return f"{key}: unknown key" + (f"; did you mean {close[0]!r}?" if close else "")
    message = item["msg"].removeprefix("Value error, ")
    if item["type"] in ("model_type", "dict_type"):
        message = "keys and values are expected"
    if not loc or item["type"] == "missing" or SECRET.search(key):
        return f"{key}: {message}"
    return f"{key}: {message} (got {item['input']!r:.80})"


def _keys_at(loc: Sequence[object]) -> list[str]:
    """Return the keys of the section at a place; `data_types` and `nodes` have one more level."""
    sections: dict[object, type[Section]] = {
        (): ClusterConfig,
        **{(key,): section for key, section in SECTIONS.items()},
    }
    place = tuple(loc[:1]) if len(loc) == 2 and loc[0] in ("data_types", "nodes") else tuple(loc)
    return list(sections[place].model_fields) if place in sections else []


# The sections of cluster.yaml, by key; of `nodes` and `data_types` there are many, by name.
SECTIONS: dict[str, type[Section]] = {
    "nodes": Node,
    "http": Http,
    "kafka": Kafka,
    "journal": Journal,
    "models": Models,
    "decoy": Decoy,
    "snapshots": Snapshots,
    "cluster": Cluster,
    "data_types": DataType,
}


# Variables of this prefix that are not keys of the configuration.
_OTHER_VARIABLES = frozenset(
    {
        "REPERTORY_CONFIG",
        "REPERTORY_LIFELINE",
        "REPERTORY_LIFELINE_OWNER",
        "REPERTORY_TEST_KAFKA",
        "REPERTORY_TOKEN",
        "REPERTORY_URL",
        "REPERTORY_WIRE_KEY",
    }
)


def _override(document: dict[str, Any], variable: str, value: str) -> tuple[str, ...]:
    """Put a variable's value in its place in the document, and return that place."""
    place = tuple(variable.removeprefix("REPERTORY_").lower().split("__"))
    for parent in place[:-1]:
        if document.get(parent) is None:
            document[parent] = {}
        document = document[parent]
        if not isinstance(document, dict):
            raise ConfigError(f"{variable}: {parent} is not a section")
    document[place[-1]] = _value(variable, value, secret=bool(SECRET.search(place[-1])))
    return place


def _value(variable: str, text: str, *, secret: bool) -> Any:
    if not secret and text.startswith(("[", "{")):
        try:
            return yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError(f"{variable}: {text!r:.80} is not YAML: {error}") from error
    return text or None
