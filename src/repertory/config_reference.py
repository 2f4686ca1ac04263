"""Every key of cluster.yaml with its default and meaning, as the sections of the configuration tell them."""

import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import yaml
from pydantic.fields import FieldInfo

from repertory.config import SECTIONS, ClusterConfig

_HEAD = "| key | default | what it is |\n|---|---|---|"
_TITLES = {"nodes": "nodes.NAME", "data_types": "data_types.NAME"}


def reference() -> str:
    """Return a Markdown table of keys for the top level and for each section."""
    top = {key: field for key, field in ClusterConfig.model_fields.items() if key not in SECTIONS}
    parts = ["### Top level", _table(top)]
    for key, section in SECTIONS.items():
        parts += [f"### `{_TITLES.get(key, key)}`", section.__doc__ or ""]
        parts.append(_table(section.model_fields))
    return "\n\n".join(parts) + "\n"


def _table(fields: dict[str, FieldInfo]) -> str:
    return "\n".join([_HEAD, *_rows(fields)])


def _rows(fields: dict[str, FieldInfo]) -> Iterator[str]:
    for key, field in fields.items():
        default = "required" if field.is_required() else f"`{_written(field.default)}`"
        meaning = " ".join((field.description or "").split())
        yield f"| `{key}` | {default} | {meaning}{_allowed(field)} |"


def _written(default: Any) -> str:
    plain = list(default) if isinstance(default, tuple) else default
    plain = str(plain) if isinstance(plain, Path) else plain
    return yaml.safe_dump(plain).removesuffix("...\n").strip()


def _allowed(field: FieldInfo) -> str:
    """Return the values that are possible, where few are, and the limits of numbers."""
    choices = [each for each in _members(field.annotation) if isinstance(each, str)]
    limits = []
    for each in field.metadata:
        for name, sign in (("ge", "≥"), ("gt", ">"), ("le", "≤")):
            if (limit := getattr(each, name, None)) is not None:
                limits.append(f"{sign} {limit:,}")
    notes = [" or ".join(f"`{each}`" for each in choices)] if choices else []
    notes += [" and ".join(limits)] if limits else []
    return f" ({'; '.join(notes)})" if notes else ""


def _members(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    if get_origin(annotation) in (Union, types.UnionType):
        return tuple(member for each in get_args(annotation) for member in _members(each))
    return ()
