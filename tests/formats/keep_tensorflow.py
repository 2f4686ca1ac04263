"""Prepares a TensorFlow model as if tf2onnx could not convert it.

python keep_tensorflow.py FILE FOLDER FEATURE…: leaves the prepared model in the new FOLDER.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

from repertory.config import Models
from repertory.models import tensorflow_check
from repertory.models.descriptor import Published
from repertory.models.model import Feature, PreparedModel, Schema
from repertory.models.prepared import save_prepared
from repertory.protos.modeldescriptor_pb2 import ModelDescriptor


def main() -> None:
    """Prepare one model."""
    file, folder, *names = sys.argv[1:]
    schema = Schema("wine", tuple(map(Feature, names)))
    with patch.object(tensorflow_check, "to_onnx", _give_up):
        save_prepared(_prepared(Path(file), schema), Path(folder))


def _prepared(path: Path, schema: Schema) -> PreparedModel:
    content = path.read_bytes()
    if path.suffix == ".pb":
        return tensorflow_check.prepare_frozen_graph(content, schema)
    kind = ModelDescriptor.TENSORFLOWSAVED
    published = Published("wine", path.stem, "", model_type=kind, sha256="", content=content)
    with TemporaryDirectory() as scratch:
        return tensorflow_check.prepare_saved_model(
            published, schema, limits=Models(), scratch=Path(scratch)
        )


def _give_up(*_: object, **__: object) -> None:
    raise ValueError("nothing is converted here")


if __name__ == "__main__":
    main()
