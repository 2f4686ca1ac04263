"""All contenders, by name."""

import sys
from importlib.metadata import version

from benchmarks.stream_contender import Contender, program
from benchmarks.stream_repertory import start_node


def _own_versions() -> str:
    names = ("confluent-kafka", "onnxruntime", "protobuf", "numpy")
    return ", ".join(f"{name} {version(name)}" for name in names)


def _limit(name: str, *, exactly_once: bool) -> Contender:
    start = program(lambda: [sys.executable, "-m", "benchmarks.stream_limit"])
    return Contender(name, "in-process limit", exactly_once, start, _own_versions)


def _repertory(name: str, *, exactly_once: bool) -> Contender:
    return Contender(name, "**Repertory**", exactly_once, start_node, _own_versions)


CONTENDERS: dict[str, Contender] = {
    contender.name: contender
    for contender in (
        _limit("limit", exactly_once=False),
        _repertory("repertory", exactly_once=False),
        _limit("limit-eo", exactly_once=True),
        _repertory("repertory-eo", exactly_once=True),
    )
}
"""In the order of their turns."""
