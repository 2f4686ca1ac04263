"""From the schema's features to the input fields of a document, their encoding and their columns."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from repertory.errors import ModelRejected
from repertory.models.model import (
    Feature,
    FeatureKind,
    InputFeature,
    Interval,
    OnInvalid,
    OnMissing,
    Schema,
)
from repertory.models.names import normalise
from repertory.models.pmml.arithmetic import Arithmetic
from repertory.models.pmml.columns import Column, DataType, Vocabulary, number_of
from repertory.models.pmml.dictionary import DataField, Dictionary
from repertory.models.pmml.intervals import inside
from repertory.models.pmml.mining_schema import MiningField
from repertory.models.pmml.missing import may_be_missing
from repertory.models.pmml.refusal import NotCompiled
from repertory.models.pmml.scope import Scope
from repertory.models.pmml.xml import Element


@dataclass(frozen=True, slots=True)
class InputField:
    """A field that records give: its declaration, its use, and the feature that it is."""

    data: DataField
    mining: MiningField
    feature: Feature
    vocabulary: Vocabulary | None
    accepts_missing: bool

    def encoding(self) -> InputFeature:
        """Return how the feature reaches the engine. Call it when the whole document is compiled,
        because an open vocabulary grows until then.
        """
        return InputFeature(
            name=self.feature.name,
            on_missing=OnMissing.ACCEPT if self.accepts_missing else OnMissing.REJECT,
            on_invalid=self._on_invalid,
            categories=self._categories(),
            intervals=() if self.data.is_text else self.data.valid_intervals(),
        )

    @property
    def _on_invalid(self) -> OnInvalid:
        is_open = self.vocabulary is not None and self.vocabulary.is_open
        return OnInvalid.AS_IS if is_open else self.mining.on_invalid

    def _categories(self) -> tuple[str, ...] | None:
        if self.vocabulary is None:
            return None
        categories = tuple(self.vocabulary.texts)
        if self.feature.kind is FeatureKind.NUMBER and not all(map(_is_number, categories)):
            raise ModelRejected(
                f"{self.data.where}: the model takes texts ({', '.join(categories[:5])}, …), but"
                f" {self.feature.name} of the records is a number"
            )
        return categories

    def column(self, index: int, scope: Scope) -> Column:
        """Return the column of the field, treated as the document says."""
        graph = scope.graph
        tensor = graph.feature(index)
        for text in self.data.missing:
            code = self._code(text)
            same = graph.op("Equal", tensor, graph.number(code))
            tensor = graph.unless(same, tensor)
        tensor = self._without_invalid(graph, tensor)
        if self.data.data_type is DataType.FLOAT:
            tensor = graph.float32(tensor)
        missing = self.accepts_missing or bool(self.data.missing)
        column = Column(tensor, self.data.data_type, self.vocabulary, missing=missing)
        return self.mining.treated(column, scope)

    def _code(self, text: str) -> float:
        if self.vocabulary is not None:
            return float(self.vocabulary.index(text))
        return number_of(text, self.data.data_type, self.data.where)

    def _without_invalid(self, graph: Arithmetic, tensor: str) -> str:
        if self.mining.invalid_replacement is None:
            return tensor
        replacement = graph.number(self._code(self.mining.invalid_replacement))
        if self.vocabulary is not None:
            unknown = graph.op("Equal", tensor, graph.number(-1.0))
            return graph.where(unknown, replacement, tensor)
        intervals = self.data.valid_intervals()
        if not intervals:
            return tensor
        valid = graph.either([_inside_or_all(graph, tensor, part) for part in intervals])
        kept = graph.either([valid, graph.is_missing(tensor)])
        return graph.where(kept, tensor, replacement)


def _inside_or_all(graph: Arithmetic, tensor: str, interval: Interval) -> str:
    if interval.low is None and interval.high is None:
        return graph.op("LessOrEqual", tensor, graph.number(math.inf))
    return inside(graph, tensor, interval)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def input_fields(
    root: Element, dictionary: Dictionary, mining: Sequence[MiningField], schema: Schema
) -> list[InputField]:
    """Return the fields that the model takes from records.

    Raises ModelRejected when the schema has no such feature, or it is of another kind, and
    NotCompiled for a declaration that is not understood.
    """
    active = [field for field in mining if field.usage == "active"]
    if not active:
        raise ModelRejected("the model takes no input: no <MiningField> is active")
    features = match_features([field.name for field in active], schema)
    accepted = may_be_missing(root, [field.name for field in active])
    return [
        _input_field(dictionary.field(field.name), field, feature, field.name in accepted)
        for field, feature in zip(active, features, strict=True)
    ]


def _input_field(
    data: DataField, mining: MiningField, feature: Feature, accepted: bool
) -> InputField:
    if feature.kind is FeatureKind.TEXT and not data.is_text:
        raise ModelRejected(
            f"{data.where}: the model takes a number ({data.data_type}), but {feature.name} of the"
            " records is text"
        )
    accepts = mining.missing_replacement is not None or accepted
    vocabulary = _vocabulary(data, mining) if data.is_text else None
    return InputField(data, mining, feature, vocabulary, accepts and not mining.missing_is_invalid)


def _vocabulary(data: DataField, mining: MiningField) -> Vocabulary:
    any_text = not data.valid or (
        mining.on_invalid is OnInvalid.AS_IS and mining.invalid_replacement is None
    )
    if data.invalid and not data.valid and mining.on_invalid is not OnInvalid.AS_IS:
        raise NotCompiled(f"{data.where}: texts that are invalid are not understood")
    return Vocabulary([*data.valid, *data.missing], is_open=any_text)


def match_features(names: Iterable[str], schema: Schema) -> list[Feature]:
    """Return the schema's feature for each field name, whatever its spelling.

    Raises ModelRejected, naming the fields that the schema lacks and the features that it has.
    """
    by_name = {normalise(feature.name): feature for feature in schema.features}
    wanted = {name: by_name.get(normalise(name)) for name in names}
    lacking = [name for name, feature in wanted.items() if feature is None]
    if lacking:
        raise ModelRejected(
            f"the model takes {', '.join(map(repr, lacking))}, which records of"
            f" {schema.data_type!r} do not have; they have"
            f" {schema.described()}"
        )
    found = [feature for feature in wanted.values() if feature is not None]
    names_of = [feature.name for feature in found]
    twice = sorted({name for name in names_of if names_of.count(name) > 1})
    if twice:
        raise ModelRejected(f"two fields of the model are both the feature {', '.join(twice)}")
    return found
