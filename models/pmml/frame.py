"""What surrounds every model: its mining schema, its own derived fields, its target, its Targets."""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final

from repertory.errors import ModelRejected
from repertory.models.model import OnInvalid
from repertory.models.pmml.answer import Answer
from repertory.models.pmml.columns import DataType
from repertory.models.pmml.mining_schema import MiningField, read_mining_schema
from repertory.models.pmml.model_element import check_scorable, is_classification, is_float
from repertory.models.pmml.refusal import NotCompiled
from repertory.models.pmml.scope import Scope
from repertory.models.pmml.target import TargetField, distinct
from repertory.models.pmml.targets import find_target, with_targets
from repertory.models.pmml.transformations import declare_derived
from repertory.models.pmml.xml import Element, Shape

ModelCompiler = Callable[[Element, Scope], Answer]

_LOCAL: Final = Shape(children="DerivedField")


def open_model(element: Element, scope: Scope) -> Scope:
    """Return the scope in which a model's own content is compiled.

    `scope` is that of the model around it, or of the document. Fields that the mining schema does
    not treat are seen as they are there.
    """
    check_scorable(element)
    inner = scope.inner()
    mining = read_mining_schema(element)
    inner.target = target_of(element, mining, scope)
    if scope.parent is not None:
        for field in mining:
            _declare_treated(field, scope, inner)
    local = element.find("LocalTransformations")
    if local is not None:
        for derived in _LOCAL.check(local).find_all("DerivedField"):
            declare_derived(derived, inner)
    return inner


def _declare_treated(field: MiningField, scope: Scope, inner: Scope) -> None:
    """Treat a field that comes from the model around this one, where that adds something."""
    if field.usage != "active":
        return
    passes = field.name in scope.context.unchecked
    if field.invalid_replacement is not None or (
        passes and field.on_invalid is OnInvalid.AS_MISSING
    ):
        raise NotCompiled(f"{field.where}: this treatment of invalid values is not understood here")
    if field.missing_is_invalid and scope.column(field.name, field).missing:
        raise NotCompiled(f"{field.where}: missingValueTreatment='returnInvalid' within a model")
    if field.missing_replacement is not None or field.outliers != "asIs":
        inner.declare(field.name, lambda: field.treated(scope.column(field.name, field), inner))


def finish(element: Element, answer: Answer, inner: Scope) -> Answer:
    """Return a model's answer after its Targets."""
    target = inner.target
    found = find_target(element, target.name if target is not None else None)
    if found is None:
        return answer
    return with_targets(found, answer, inner, is_float=is_float(element))


def target_of(element: Element, mining: list[MiningField], scope: Scope) -> TargetField | None:
    """Return the field that a model predicts; one that names none predicts what is around it."""
    names = [field.name for field in mining if field.is_target]
    if len(names) > 1:
        raise NotCompiled(f"{element.where} predicts several fields: {', '.join(names)}")
    around = scope.target
    if not names and around is not None and _predicts_the_same(element, around):
        return around
    name = names[0] if names else None
    dictionary = scope.context.dictionary
    declared = dictionary.field(name) if name is not None and name in dictionary else None
    optype = _optype(element, mining, name) or (declared.optype if declared else "")
    labels: tuple[str, ...] = ()
    if is_classification(element):
        labels = (declared.valid if declared else ()) or distinct(_labels(element))
        if not labels:
            raise ModelRejected(f"{element.where} classifies, but no class is named anywhere")
    data_type = declared.data_type if declared else DataType.STRING
    return TargetField(name, data_type, optype == "ordinal", labels)


def _predicts_the_same(element: Element, around: TargetField) -> bool:
    """Tell whether a model without a target of its own may share that of the model around it.

    Some of its classes tell; were others strangers, they would be refused when they are met.
    """
    if not is_classification(element):
        return True
    return bool(around.classes) and set(islice(_labels(element), 50)) <= set(around.classes)


def _optype(element: Element, mining: list[MiningField], name: str | None) -> str | None:
    targets = element.find("Targets")
    stated = find_target(element, name) if targets is not None else None
    if stated is not None and "optype" in stated.attributes:
        return stated.get("optype")
    return next((field.optype for field in mining if field.is_target), None)


# Where a document names the classes that a model predicts.
_LABELS: Final = {
    "TargetValue": "value",
    "ScoreDistribution": "value",
    "RegressionTable": "targetCategory",
    "PCell": "targetCategory",
    "GeneralRegressionModel": "targetReferenceCategory",
    "Node": "score",
    "TargetValueCount": "value",
    "SupportVectorMachine": "targetCategory",
}


def _labels(model: Element) -> Iterator[str]:
    """Yield the classes that a model names, in the order of the document."""
    pending = [model]
    while pending:
        element = pending.pop()
        if element.get("functionName", "classification") != "classification":
            continue  # within a classifier, models that predict numbers
        if element.tag == "NeuralOutput":
            yield from (d.get("value") for d in element.walk() if d.tag == "NormDiscrete")
        label = element.get(_LABELS.get(element.tag, ""))
        if label:
            yield label
        pending.extend(reversed(element.children))
