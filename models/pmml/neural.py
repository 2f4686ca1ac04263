"""NeuralNetwork: layers as matrix products, any neuron fed by any before it."""

import math
from collections.abc import Mapping
from typing import Final

import numpy as np

from repertory.errors import ModelRejected
from repertory.models.pmml.answer import Answer
from repertory.models.pmml.arithmetic import Arithmetic
from repertory.models.pmml.columns import numeric
from repertory.models.pmml.links import Link, exponential, identity, logit
from repertory.models.pmml.model_element import DOCUMENTATION, FRAME, is_classification, refuse
from repertory.models.pmml.neural_outputs import neural_answer
from repertory.models.pmml.scope import Scope
from repertory.models.pmml.transformations import TAGS, derived_field
from repertory.models.pmml.xml import Element, Shape

_MODEL: Final = Shape(
    attributes="functionName isScorable activationFunction normalizationMethod threshold width"
    " altitude x-mathContext mathContext",
    ignored=f"{DOCUMENTATION} numberOfLayers",
    children=f"{FRAME} NeuralInputs NeuralLayer NeuralOutputs",
)
_INPUTS: Final = Shape(ignored="numberOfInputs", children="NeuralInput")
_INPUT: Final = Shape(attributes="id", children="DerivedField")
_UNNAMED: Final = Shape(attributes="dataType", ignored="name displayName optype", children=TAGS)
_LAYER: Final = Shape(
    attributes="activationFunction normalizationMethod threshold width altitude",
    ignored="numberOfNeurons",
    children="Neuron",
)
_NEURON: Final = Shape(attributes="id bias width altitude", children="Con")
_CON: Final = Shape(attributes="from weight")


def _gauss(graph: Arithmetic, z: str) -> str:
    return graph.exp(graph.negated(graph.times(z, z)))


def _elliott(graph: Arithmetic, z: str) -> str:
    return graph.over(z, graph.plus(graph.number(1.0), graph.op("Abs", z)))


def _arctan(graph: Arithmetic, z: str) -> str:
    return graph.times(graph.number(2.0 / math.pi), graph.arctan(z))


_ACTIVATIONS: Final[Mapping[str, Link]] = {
    "identity": identity,
    "logistic": logit,
    "tanh": lambda graph, z: graph.op("Tanh", z),
    "exponential": exponential,
    "reciprocal": lambda graph, z: graph.over(graph.number(1.0), z),
    "square": lambda graph, z: graph.times(z, z),
    "Gauss": _gauss,
    "sine": lambda graph, z: graph.op("Sin", z),
    "cosine": lambda graph, z: graph.op("Cos", z),
    "Elliott": _elliott,
    "arctan": _arctan,
    "rectifier": lambda graph, z: graph.at_least(z, graph.number(0.0)),
}
_NORMALIZATIONS: Final = ("none", "simplemax", "softmax")


def neural_network(element: Element, scope: Scope) -> Answer:
    """Compile a <NeuralNetwork>."""
    _MODEL.check(element)
    for name in ("x-mathContext", "mathContext"):
        if element.get(name, "double") != "double":
            raise refuse(element, name, "is not understood")
    network = _Network(element, scope)
    layers = element.find_all("NeuralLayer")
    if not layers:
        raise ModelRejected(f"{element.where} has no <NeuralLayer>")
    for layer in layers:
        network.add_layer(layer)
    return neural_answer(element, network.neuron, scope, classifies=is_classification(element))


class _Network:
    """The neurons so far: matrices [n, k], and each neuron's matrix and place in it."""

    def __init__(self, element: Element, scope: Scope) -> None:
        self._element = element
        self._graph = scope.graph
        self._places: dict[str, tuple[int, int]] = {}
        columns = []
        for given in _INPUTS.check(element.need("NeuralInputs")).find_all("NeuralInput"):
            field = _INPUT.check(given).need("DerivedField")
            columns.append(numeric(derived_field(field, scope), field.where).tensor)
            self._place(given, 0, len(columns) - 1)
        if not columns:
            raise ModelRejected(f"{element.where} has no <NeuralInput>")
        self._matrices = [self._graph.matrix_of(columns)]
        self._widths = [len(columns)]

    def neuron(self, name: str, where: str) -> str:
        """Return the column of a neuron."""
        matrix, column = self._find(name, where)
        return self._graph.column(self._matrices[matrix], column)

    def add_layer(self, layer: Element) -> None:
        """Compute a layer from those before it."""
        _LAYER.check(layer)
        neurons = [_NEURON.check(neuron) for neuron in layer.find_all("Neuron")]
        if not neurons:
            raise ModelRejected(f"{layer.where} has no <Neuron>")
        name = layer.get("activationFunction") or self._element.require("activationFunction")
        if name == "radialBasis":
            outputs = self._radial(layer, neurons)
        else:
            outputs = self._activated(name, layer, self._weighted_sums(neurons))
        for column, neuron in enumerate(neurons):
            self._place(neuron, len(self._matrices), column)
        self._matrices.append(self._normalized(layer, outputs))
        self._widths.append(len(neurons))

    def _place(self, neuron: Element, matrix: int, column: int) -> None:
        name = neuron.require("id")
        if name in self._places:
            raise ModelRejected(f"{neuron.where}: another neuron has that id")
        self._places[name] = (matrix, column)

    def _find(self, name: str, where: str) -> tuple[int, int]:
        if name not in self._places:
            raise ModelRejected(f"{where}: there is no neuron {name!r} before it")
        return self._places[name]

    def _connections(self, neurons: list[Element]) -> tuple[list[int], list[dict[int, float]]]:
        """Return which matrices feed these neurons, and the weights by column of them together."""
        found = [
            [(*self._find(con.require("from"), con.where), con.number("weight")) for con in cons]
            for cons in ([_CON.check(c) for c in n.find_all("Con")] for n in neurons)
        ]
        used = sorted({matrix for cons in found for matrix, _, _ in cons}) or [0]
        starts = dict(
            zip(used, np.cumsum([0, *(self._widths[m] for m in used)]).tolist(), strict=False)
        )
        weights: list[dict[int, float]] = []
        for cons in found:
            row: dict[int, float] = {}
            for matrix, column, weight in cons:
                place = starts[matrix] + column
                row[place] = row.get(place, 0.0) + weight
            weights.append(row)
        return used, weights

    def _sources(self, used: list[int]) -> str:
        return self._graph.concat([self._matrices[matrix] for matrix in used])

    def _weighted_sums(self, neurons: list[Element]) -> str:
        graph = self._graph
        used, connections = self._connections(neurons)
        weights = np.zeros((sum(self._widths[matrix] for matrix in used), len(neurons)))
        for place, row in enumerate(connections):
            for source, weight in row.items():
                weights[source, place] = weight
        biases = [neuron.number("bias", 0.0) for neuron in neurons]
        return graph.linear(self._sources(used), weights, biases)

    def _activated(self, name: str, layer: Element, z: str) -> str:
        graph = self._graph
        if name == "threshold":
            bound = layer.number("threshold", self._element.number("threshold", 0.0))
            return graph.compare("Greater", z, graph.number(bound))
        if name not in _ACTIVATIONS:
            where = layer if "activationFunction" in layer.attributes else self._element
            raise refuse(where, "activationFunction", "is not understood")
        return _ACTIVATIONS[name](graph, z)

    def _radial(self, layer: Element, neurons: list[Element]) -> str:
        """exp(f ln(altitude) - z), z being the squared distance over 2 width², f the fan-in."""
        graph = self._graph
        used, connections = self._connections(neurons)
        sources = self._sources(used)
        columns = []
        for neuron, row in zip(neurons, connections, strict=True):
            chain = [neuron, layer, self._element]
            width = next((e.number("width") for e in chain if "width" in e.attributes), None)
            if not width:
                raise ModelRejected(f"{neuron.where} has no width")
            altitudes = (e.number("altitude") for e in chain if "altitude" in e.attributes)
            height = len(row) * math.log(next(altitudes, 1.0))
            picked = graph.op("Gather", sources, graph.integers(list(row)), axis=1)
            distance = graph.minus(picked, graph.row(list(row.values())))
            z = graph.row_sum(graph.times(distance, distance))
            scaled = graph.over(z, graph.number(2.0 * width * width))
            columns.append(graph.exp(graph.minus(graph.number(height), scaled)))
        return graph.concat(columns)

    def _normalized(self, layer: Element, outputs: str) -> str:
        inherited = self._element.choice("normalizationMethod", _NORMALIZATIONS, "none")
        match layer.choice("normalizationMethod", _NORMALIZATIONS, inherited):
            case "softmax":
                return self._graph.op("Softmax", outputs, axis=1)
            case "simplemax":
                return self._graph.over(outputs, self._graph.row_sum(outputs))
        return outputs
