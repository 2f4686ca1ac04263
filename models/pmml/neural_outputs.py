"""The outputs of a NeuralNetwork: from neurons back to the target's numbers or classes."""

from collections.abc import Callable
from typing import Final

from repertory.errors import ModelRejected
from repertory.models.pmml.answer import Answer
from repertory.models.pmml.norms import interpolated, read_norms
from repertory.models.pmml.refusal import NotCompiled
from repertory.models.pmml.scope import Scope
from repertory.models.pmml.xml import Element, Shape

_OUTPUTS: Final = Shape(ignored="numberOfOutputs", children="NeuralOutput")
_OUTPUT: Final = Shape(attributes="outputNeuron", children="DerivedField")
_FIELD: Final = Shape(
    ignored="name displayName optype dataType", children="FieldRef NormContinuous NormDiscrete"
)
_FIELD_REF: Final = Shape(ignored="field")
_NORM_CONTINUOUS: Final = Shape(attributes="outliers", ignored="field", children="LinearNorm")
_NORM_DISCRETE: Final = Shape(attributes="value", ignored="field method")

Neuron = Callable[[str, str], str]


def neural_answer(element: Element, neuron: Neuron, scope: Scope, *, classifies: bool) -> Answer:
    """Return what a network answers; `neuron` gives the column of a neuron by its id."""
    outputs = _OUTPUTS.check(element.need("NeuralOutputs")).find_all("NeuralOutput")
    columns = []
    for output in outputs:
        _OUTPUT.check(output)
        field = _FIELD.check(output.need("DerivedField"))
        if len(field.children) != 1:
            raise ModelRejected(f"{field.where} does not have 1 expression")
        columns.append((field.children[0], neuron(output.require("outputNeuron"), output.where)))
    if classifies:
        return _classified(element, columns, scope)
    if len(columns) != 1:
        raise NotCompiled(f"{element.where} predicts a number with {len(columns)} outputs")
    return Answer(value=_number(*columns[0], scope))


def _number(expression: Element, column: str, scope: Scope) -> str:
    """Undo the normalisation that the target had."""
    match expression.tag:
        case "FieldRef":
            _FIELD_REF.check(expression)
            return column
        case "NormContinuous":
            _NORM_CONTINUOUS.check(expression)
            expression.choice("outliers", ("asIs",), "asIs")
            norms = read_norms(expression).inverse(expression.where)
            return interpolated(scope.graph, column, norms)
    raise NotCompiled(f"{expression.where} in the output of a regression is not understood")


def _classified(element: Element, columns: list[tuple[Element, str]], scope: Scope) -> Answer:
    """Each output is the probability of a class; the greatest wins."""
    target = scope.target
    assert target is not None
    by_class: dict[int, str] = {}
    for expression, column in columns:
        if expression.tag != "NormDiscrete":
            raise NotCompiled(f"{expression.where} in the output of a classifier")
        _NORM_DISCRETE.check(expression)
        index = target.index(expression.require("value"), expression)
        if index in by_class:
            raise ModelRejected(f"{expression.where}: this class has two outputs")
        by_class[index] = column
    if len(by_class) != len(target.classes):
        raise NotCompiled(
            f"{element.where} has {len(by_class)} outputs for {len(target.classes)} classes"
        )
    rows = scope.graph.concat([by_class[index] for index in range(len(target.classes))])
    label = scope.graph.first_maximum(rows)
    return Answer(classes=target.classes, label=label, probabilities=rows)
