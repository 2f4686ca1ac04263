"""What PMML4S, the engine for PMML that is not compiled, needs to score a document faithfully."""

from typing import Final
from xml.sax.saxutils import escape, quoteattr

from repertory.errors import ModelRejected
from repertory.models.model import (
    FeatureKind,
    InputFeature,
    InputTensor,
    Schema,
    Signature,
    Task,
)
from repertory.models.pmml.arithmetic import Arithmetic
from repertory.models.pmml.dictionary import Dictionary
from repertory.models.pmml.document import find_model
from repertory.models.pmml.frame import target_of
from repertory.models.pmml.inputs import InputField, input_fields
from repertory.models.pmml.mining_schema import read_mining_schema
from repertory.models.pmml.model_element import check_scorable, is_classification
from repertory.models.pmml.refusal import NotCompiled
from repertory.models.pmml.scope import Context, Scope
from repertory.models.pmml.target import TargetField
from repertory.models.pmml.xml import Element, parse

# The output that stands for the probabilities of all classes, side by side.
PROBABILITIES: Final = "probabilities"


def pmml_signature(content: bytes, schema: Schema) -> Signature:
    """Return what a document takes and gives on PMML4S.

    There is a tensor of rank 1 for each active field, named as the document names it, of float64 or
    of objects (str, None where missing). The prediction is `predicted_<target>`; a classifier is
    said to give PROBABILITIES, which not every kind of model really does.

    Raises ModelRejected, also for inputs that are not understood: then no engine is given them.
    """
    root = parse(content)
    model = find_model(root)
    try:
        check_scorable(model)
        dictionary = Dictionary(root)
        inputs = input_fields(root, dictionary, read_mining_schema(model), schema)
        target = _target(model, dictionary)
    except NotCompiled as refusal:
        raise ModelRejected(refusal.reason) from None
    tensors = tuple(
        InputTensor(
            name=field.data.name,
            dtype="object" if field.feature.kind is FeatureKind.TEXT else "float64",
            features=(_feature(field),),
            rank=1,
        )
        for field in inputs
    )
    name = f"predicted_{target.name}" if target is not None and target.name else "predicted"
    if target is None or not target.classes:
        return Signature(Task.REGRESSION, tensors, value_output=name)
    return Signature(
        Task.CLASSIFICATION,
        tensors,
        label_output=name,
        probabilities_output=PROBABILITIES,
        classes=target.classes,
    )


def _feature(field: InputField) -> InputFeature:
    """Return how a field's values are judged; its own, not indices, reach the engine."""
    feature = field.encoding()
    is_open = field.vocabulary is not None and field.vocabulary.is_open
    return InputFeature(
        name=feature.name,
        on_missing=feature.on_missing,
        on_invalid=feature.on_invalid,
        categories=None if is_open else feature.categories,
        intervals=feature.intervals,
    )


def _target(model: Element, dictionary: Dictionary) -> TargetField | None:
    function = model.require("functionName")
    if function not in ("classification", "regression"):
        raise ModelRejected(
            f"{model.where}: functionName={function!r} gives neither a number nor a class"
        )
    scope = Scope(Context(Arithmetic(0), dictionary))
    target = target_of(model, read_mining_schema(model), scope)
    if target is not None and not is_classification(model):
        return TargetField(target.name, target.data_type)
    return target


def normalise_for_pypmml(content: bytes) -> bytes:
    """Return the document with every node's ScoreDistributions in the order of the target's classes,
    those of no records included.

    PMML4S combines the probabilities of an ensemble's trees by position, not by value, and so takes
    the classes for each other where a node leaves some out. Raises ModelRejected for a document
    whose classes are not understood.
    """
    root = parse(content)
    try:
        _complete_nodes(find_model(root), Dictionary(root))
    except NotCompiled as refusal:
        raise ModelRejected(refusal.reason) from None
    return _written(root)


def _complete_nodes(model: Element, dictionary: Dictionary) -> None:
    if model.get("functionName") != "classification":
        return
    scope = Scope(Context(Arithmetic(0), dictionary))
    target = target_of(model, read_mining_schema(model), scope)
    for element in model.walk():
        if target is not None and element.tag == "Node" and element.find("ScoreDistribution"):
            _complete(element, target)


def _complete(node: Element, target: TargetField) -> None:
    shares = {
        target.index(share.require("value"), share): share
        for share in node.find_all("ScoreDistribution")
    }
    has_probability = any("probability" in share.attributes for share in shares.values())
    complete = []
    for index, label in enumerate(target.classes):
        absent = {"value": label, "recordCount": "0"}
        if has_probability:
            absent["probability"] = "0"
        complete.append(shares.get(index) or Element("ScoreDistribution", absent, node.line))
    place = next(i for i, child in enumerate(node.children) if child.tag == "ScoreDistribution")
    others = [child for child in node.children if child.tag != "ScoreDistribution"]
    node.children = [*others[:place], *complete, *others[place:]]


def _written(root: Element) -> bytes:
    """Return a document as text, without extensions, in the namespace of its version."""
    version = "_".join(root.get("version", "4.4").split(".")[:2])
    root.attributes["xmlns"] = f"http://www.dmg.org/PMML-{version}"
    parts = ['<?xml version="1.0" encoding="UTF-8"?>\n']
    pending: list[Element | str] = [root]
    while pending:
        item = pending.pop()
        if isinstance(item, str):
            parts.append(item)
        elif item.tag != "Extension":
            tag = item.tag.rpartition("}")[2]
            given = "".join(
                f" {name}={quoteattr(value)}" for name, value in item.attributes.items()
            )
            parts.append(f"<{tag}{given}>{escape(item.text)}")
            pending.append(f"</{tag}>")
            pending.extend(reversed(item.children))
    return "".join(parts).encode()
