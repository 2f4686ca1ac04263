"""What is streamed: records of a data type, and the model that scores them."""

import csv
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.stream_images import json_images, write_net

from repertory.protos.winerecord_pb2 import WineRecord

ROOT = Path(__file__).parent.parent
CACHE = ROOT / ".cache" / "benchmarks"
_WINE = ROOT / "examples" / "wine"


@dataclass(frozen=True, slots=True)
class Workload:
    """Records of one data type and their model."""

    name: str
    message: str
    features: tuple[str, ...]
    value_format: str
    model: Path
    records: Callable[[], list[bytes]]
    guess: int
    """Records a second that no contender is expected to exceed: so many are laid in stock."""

    @property
    def model_sha256(self) -> str:
        """The digest of the model file."""
        return hashlib.sha256(self.model.read_bytes()).hexdigest()


def wines() -> list[bytes]:
    """Return the red wines of the example as protobuf messages."""
    with (_WINE / "data" / "winequality-red.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [_wine_record(row) for row in rows]


def _wine_record(row: dict[str, str]) -> bytes:
    record = WineRecord(dataType="wine")
    for name in _WINE_FIELDS:
        setattr(record, name, float(row[name]))
    return record.SerializeToString()


_WINE_FIELDS = tuple(
    name for name in WineRecord.DESCRIPTOR.fields_by_name if name not in ("dataType", "ts")
)


def _wine() -> Workload:
    return Workload(
        name="wine",
        message="repertory.protos.winerecord_pb2:WineRecord",
        features=_WINE_FIELDS,
        value_format="protobuf",
        model=_WINE / "models" / "02-random-forest.onnx",
        records=wines,
        guess=60_000,
    )


def _crayfish() -> Workload:
    net = CACHE / "image-net.onnx"
    write_net(net)
    return Workload(
        name="crayfish",
        message="benchmarks.stream_images:Image",
        features=("pixels[784]",),
        value_format="json",
        model=net,
        records=json_images,
        guess=8_000,
    )


WORKLOADS: dict[str, Callable[[], Workload]] = {"wine": _wine, "crayfish": _crayfish}
"""How each workload is made, by name."""
