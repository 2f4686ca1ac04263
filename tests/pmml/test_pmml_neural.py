"""NeuralNetwork: inputs, activations, normalisations, and the way back to the target."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from repertory.errors import ModelRejected
from repertory.models.pmml.refusal import NotCompiled

Score = Callable[..., Any]

INPUTS = """<NeuralInputs>
  <NeuralInput id="i0"><DerivedField optype="continuous" dataType="double">
    <NormContinuous field="x"><LinearNorm orig="0" norm="-1"/><LinearNorm orig="10" norm="1"/></NormContinuous>
  </DerivedField></NeuralInput>
  <NeuralInput id="i1"><DerivedField optype="continuous" dataType="double">
    <FieldRef field="z"/></DerivedField></NeuralInput>
</NeuralInputs>"""
NUMBER = '<NeuralOutputs><NeuralOutput outputNeuron="o"><DerivedField optype="continuous" dataType="double">{}</DerivedField></NeuralOutput></NeuralOutputs>'
SAME = NUMBER.format('<FieldRef field="y"/>')
ROWS = {"x": [5.0, 10.0, 1.0], "z": [0.5, -2.0, 3.0]}
SCALED = [0.0, 1.0, -0.8]


def neuron(name: str, bias: float, **weights: float) -> str:
    cons = "".join(
        f'<Con from="{source}" weight="{weight}"/>' for source, weight in weights.items()
    )
    return f'<Neuron id="{name}" bias="{bias}">{cons}</Neuron>'


def layer(*neurons: str, attributes: str = "") -> str:
    return f"<NeuralLayer {attributes}>{''.join(neurons)}</NeuralLayer>"


def network(attributes: str, *layers: str, outputs: str = SAME, inputs: str = INPUTS) -> str:
    return f"""<NeuralNetwork {attributes}><MiningSchema/>{inputs}{"".join(layers)}{outputs}
      </NeuralNetwork>"""


REGRESSION = 'functionName="regression" activationFunction="{}"'
ACTIVATIONS: dict[str, Callable[[float], float]] = {
    "identity": float,
    "logistic": lambda z: 1 / (1 + math.exp(-z)),
    "tanh": math.tanh,
    "exponential": math.exp,
    "reciprocal": lambda z: 1 / z,
    "square": lambda z: z * z,
    "Gauss": lambda z: math.exp(-z * z),
    "sine": math.sin,
    "cosine": math.cos,
    "Elliott": lambda z: z / (1 + abs(z)),
    "arctan": lambda z: 2 * math.atan(z) / math.pi,
    "rectifier": lambda z: max(0.0, z),
    "threshold": lambda z: float(z > 0.25),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(score: Score, name: str) -> None:
    attributes = REGRESSION.format(name) + ' threshold="0.25"'
    answers = score(network(attributes, layer(neuron("o", 0.1, i0=2.0, i1=-1.0))), **ROWS)
    sums = [0.1 + 2 * a - b for a, b in zip(SCALED, ROWS["z"], strict=True)]
    assert answers.values == pytest.approx([ACTIVATIONS[name](z) for z in sums], abs=1e-13)


def test_layers_have_activations_of_their_own_and_neurons_may_skip_layers(score: Score) -> None:
    hidden = layer(
        neuron("h", 0.0, i0=1.0), neuron("g", 1.0, i1=1.0), attributes='activationFunction="tanh"'
    )
    last = layer(neuron("o", 0.5, g=2.0, i1=10.0, h=-1.0))
    answers = score(network(REGRESSION.format("identity"), hidden, last), **ROWS)
    expected = [
        0.5 + 2 * math.tanh(1 + b) + 10 * b - math.tanh(a)
        for a, b in zip(SCALED, ROWS["z"], strict=True)
    ]
    assert answers.values == pytest.approx(expected)


def test_the_targets_normalisation_is_undone(score: Score) -> None:
    norm = '<NormContinuous field="y"><LinearNorm orig="3" norm="0"/><LinearNorm orig="8" norm="1"/></NormContinuous>'
    model = network(
        REGRESSION.format("identity"), layer(neuron("o", 0.0, i0=1.0)), outputs=NUMBER.format(norm)
    )
    assert score(model, **ROWS).values == pytest.approx([3 + 5 * a for a in SCALED])


def test_radial_basis(score: Score) -> None:
    units = layer(
        neuron("a", 0.0, i0=0.5, i1=1.0),
        neuron("b", 0.0, i1=-1.0),
        attributes='activationFunction="radialBasis" width="0.7" altitude="1.5"',
    )
    last = layer(neuron("o", 0.0, a=1.0, b=2.0))
    answers = score(network(REGRESSION.format("identity"), units, last), **ROWS)
    expected = []
    for x, z in zip(SCALED, ROWS["z"], strict=True):
        a = math.exp(2 * math.log(1.5) - ((x - 0.5) ** 2 + (z - 1) ** 2) / (2 * 0.49))
        b = math.exp(math.log(1.5) - (z + 1) ** 2 / (2 * 0.49))
        expected.append(a + 2 * b)
    assert answers.values == pytest.approx(expected)


CLASSES = "<NeuralOutputs>" + "".join(
    f'<NeuralOutput outputNeuron="o{name}"><DerivedField optype="categorical" dataType="string">'
    f'<NormDiscrete field="y" value="{name}"/></DerivedField></NeuralOutput>'
    for name in "abc"
) + "</NeuralOutputs>"  # fmt: skip
LAST = (neuron("oa", 0.0, i0=1.0), neuron("ob", 0.3, i1=1.0), neuron("oc", 0.1))
CLASSIFIER = 'functionName="classification" activationFunction="identity"'


@pytest.mark.parametrize("where", ["layer", "network"])
def test_softmax_gives_probabilities(score: Score, where: str) -> None:
    softmax = 'normalizationMethod="softmax"'
    attributes = CLASSIFIER + (softmax if where == "network" else "")
    last = layer(*LAST, attributes=softmax if where == "layer" else "")
    answers = score(
        network(attributes.replace('"normal', '" normal'), last, outputs=CLASSES), **ROWS
    )
    logits = np.array([[a, 0.3 + b, 0.1] for a, b in zip(SCALED, ROWS["z"], strict=True)])
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert answers.outcomes.probabilities == pytest.approx(expected)
    assert answers.labels == ["abc"[i] for i in expected.argmax(axis=1)]


def test_simplemax_gives_parts_of_the_sum(score: Score) -> None:
    last = layer(
        *LAST, attributes='activationFunction="exponential" normalizationMethod="simplemax"'
    )
    answers = score(network(CLASSIFIER, last, outputs=CLASSES), **ROWS)
    first = np.exp([0.0, 0.8, 0.1])
    assert list(answers.probabilities[0].values()) == pytest.approx(first / first.sum())


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (network(REGRESSION.format("swish"), layer(neuron("o", 0.0, i0=1.0))), "'swish'"),
        (network(REGRESSION.format("tanh") + ' dropout="1"', layer(neuron("o", 0.0))), "dropout"),
        (network(CLASSIFIER, layer(neuron("o", 0.0))), "<FieldRef>"),
    ],
)
def test_what_is_not_known_is_not_compiled(score: Score, model: str, reason: str) -> None:
    with pytest.raises(NotCompiled, match=reason):
        score(model, **ROWS, fields=TARGET, mining=MINING)


TARGET = '<DataField name="y" optype="categorical" dataType="string"><Value value="a"/><Value value="b"/></DataField>'
MINING = '<MiningField name="y" usageType="target"/>'


@pytest.mark.parametrize(
    ("layers", "reason"),
    [
        ([layer(neuron("o", 0.0, h=1.0)), layer(neuron("h", 0.0))], "no neuron 'h' before it"),
        ([layer(neuron("i0", 0.0))], "another neuron has that id"),
        ([], "no <NeuralLayer>"),
    ],
)
def test_a_broken_network_is_rejected(score: Score, layers: list[str], reason: str) -> None:
    with pytest.raises(ModelRejected, match=reason):
        score(network(REGRESSION.format("tanh"), *layers), **ROWS)
