"""All contenders, by name."""

import sys
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version

from benchmarks.stream_contender import Contender, program
from benchmarks.stream_environments import environment_python, pinned
from benchmarks.stream_repertory import start_node


def _own_versions() -> str:
    names = ("confluent-kafka", "onnxruntime", "protobuf", "numpy")
    return ", ".join(f"{name} {version(name)}" for name in names)


def _limit(name: str, *, exactly_once: bool) -> Contender:
    start = program(lambda: [sys.executable, "-m", "benchmarks.stream_limit"])
    return Contender(name, "in-process limit", exactly_once, start, _own_versions)


def _repertory(name: str, *, exactly_once: bool) -> Contender:
    return Contender(name, "**Repertory**", exactly_once, start_node, _own_versions)


def _peer(
    name: str, peer: str, title: str, packages: Sequence[str], *, exactly_once: bool = False
) -> Contender:
    start = program(lambda: [str(environment_python(peer)), "-m", f"benchmarks.peers.{peer}_app"])
    versions = partial(pinned, peer, *packages, "onnxruntime", "protobuf", "numpy")
    return Contender(name, title, exactly_once, start, versions)


_QUIX = ("quix", "Quix Streams", ("quixstreams", "confluent-kafka"))
_BYTEWAX = ("bytewax", "Bytewax", ("bytewax", "confluent-kafka"))
_FAUST = ("faust", "Faust", ("faust-streaming", "aiokafka", "uvloop"))

CONTENDERS: dict[str, Contender] = {
    contender.name: contender
    for contender in (
        _limit("limit", exactly_once=False),
        _repertory("repertory", exactly_once=False),
        _peer("quix", *_QUIX),
        _peer("bytewax", *_BYTEWAX),
        _peer("faust", *_FAUST),
        _limit("limit-eo", exactly_once=True),
        _repertory("repertory-eo", exactly_once=True),
        _peer("quix-eo", *_QUIX, exactly_once=True),
        _peer("faust-eo", *_FAUST, exactly_once=True),
    )
}
"""In the order of their turns."""
