"""MiningModel: ensembles, choices and chains of models."""

from typing import Final

from repertory.errors import ModelRejected
from repertory.models.pmml.answer import Answer
from repertory.models.pmml.arithmetic import Arithmetic
from repertory.models.pmml.combining import Combining, CompileModel
from repertory.models.pmml.model_element import DOCUMENTATION, FRAME, is_classification, is_float
from repertory.models.pmml.outputs import declare_outputs
from repertory.models.pmml.refusal import NotCompiled
from repertory.models.pmml.scope import Scope
from repertory.models.pmml.segments import Segment, read_segment
from repertory.models.pmml.xml import Element, Shape

_MODEL: Final = Shape(
    attributes="functionName isScorable x-mathContext mathContext",
    ignored=DOCUMENTATION,
    children=f"{FRAME} Segmentation",
)
_SEGMENTATION: Final = Shape(
    attributes="multipleModelMethod missingPredictionTreatment missingThreshold"
    " x-missingPredictionTreatment x-missingThreshold",
    children="Segment",
)
_MISSING: Final = ("continue", "skipSegment", "returnMissing")


def mining_model(element: Element, scope: Scope, compile_model: CompileModel) -> Answer:
    """Compile a <MiningModel>; `compile_model` compiles what its segments hold."""
    _MODEL.check(element)
    segmentation = _standard(_SEGMENTATION.check(element.need("Segmentation")))
    segments = segmentation.find_all("Segment")
    if not segments:
        raise ModelRejected(f"{segmentation.where} has no <Segment>")
    method = segmentation.require("multipleModelMethod")
    treatment = segmentation.choice("missingPredictionTreatment", _MISSING, "continue")
    if method in ("modelChain", "selectFirst") and treatment == "skipSegment":
        raise NotCompiled(
            f"{segmentation.where}: skipping segments of a {method} is not understood"
        )
    if method == "modelChain":
        return _chain(element, segments, scope, compile_model)
    if method == "selectFirst":
        return _first(segments, scope, compile_model)
    members = [read_segment(segment, scope) for segment in segments]
    answer = Combining(element, segmentation, members, scope, compile_model).answer()
    if is_float(element) and answer.value is not None:
        return Answer(value=scope.graph.float32(answer.value))
    return answer


def _standard(segmentation: Element) -> Element:
    """Give attributes that JPMML wrote before they were in the standard their standard names."""
    for name in ("missingPredictionTreatment", "missingThreshold"):
        if f"x-{name}" in segmentation.attributes:
            segmentation.attributes.setdefault(name, segmentation.attributes[f"x-{name}"])
    return segmentation


def _chain(
    model: Element, elements: list[Element], scope: Scope, compile_model: CompileModel
) -> Answer:
    """Each segment sees the output fields of those before it; the last one that holds answers.

    Where that one predicts something else than the chain does, there is no prediction.
    """
    graph = scope.graph
    last: Answer | None = None
    lost: list[str] = []  # masks of where a segment that holds predicts nothing
    for element in elements:
        segment = read_segment(element, scope)
        answer, inner = compile_model(segment.model, scope)
        missing = graph.is_missing(answer.value or answer.label or "")
        if segment.is_always:
            last = answer
        else:
            holds = segment.truth(scope).tensor
            missing = graph.op("And", graph.holds(holds), missing)
            own = _only_where(holds, answer, graph)
            last = (
                own
                if last is None or not _same_kind(answer, last)
                else _chosen(segment, answer, last, scope)
            )
            answer = own
        lost.append(missing)
        declare_outputs(segment.model, answer, inner, scope)
    assert last is not None
    if (last.value is None) != is_classification(model):
        raise NotCompiled(f"{model.where}: its functionName is not that of its last segment")
    treatment = model.need("Segmentation").get("missingPredictionTreatment")
    if treatment != "returnMissing" or len(lost) == 1:
        return last
    found = graph.complement(graph.double(graph.either(lost)))
    return _only_where(found, last, graph)


def _first(elements: list[Element], scope: Scope, compile_model: CompileModel) -> Answer:
    """The first segment that holds answers."""
    segments = [read_segment(element, scope) for element in elements]
    *others, last = [(segment, compile_model(segment.model, scope)[0]) for segment in segments]
    result = last[1]
    if not last[0].is_always:
        result = _only_where(last[0].truth(scope).tensor, result, scope.graph)
    for segment, answer in reversed(others):
        result = answer if segment.is_always else _chosen(segment, answer, result, scope)
    return result


def _only_where(truth: str, answer: Answer, graph: Arithmetic) -> Answer:
    """Return an answer that is missing where a truth is not true."""
    mask = graph.op("Not", graph.holds(truth))
    return Answer(
        value=answer.value and graph.unless(mask, answer.value),
        classes=answer.classes,
        label=answer.label and graph.unless(mask, answer.label),
        probabilities=answer.probabilities and graph.unless(mask, answer.probabilities),
    )


def _same_kind(answer: Answer, other: Answer) -> bool:
    return answer.classes == other.classes and (answer.value is None) == (other.value is None)


def _chosen(segment: Segment, answer: Answer, other: Answer, scope: Scope) -> Answer:
    """Return a segment's answer where it holds, the other one elsewhere."""
    if not _same_kind(answer, other):
        raise NotCompiled(f"{segment.model.where} answers something else than its neighbours")
    graph = scope.graph
    mask = graph.holds(segment.truth(scope).tensor)

    def pick(a: str | None, b: str | None) -> str | None:
        return graph.where(mask, a, b) if a is not None and b is not None else None

    return Answer(
        value=pick(answer.value, other.value),
        classes=answer.classes,
        label=pick(answer.label, other.label),
        probabilities=pick(answer.probabilities, other.probabilities),
    )
