"""Schemas come from protobuf messages, and names are compared in one way."""

import pytest

from repertory.config import DataType
from repertory.errors import ConfigError
from repertory.models.model import FeatureKind
from repertory.models.names import normalise
from repertory.models.schema import schema_of
from repertory.protos.loading import load_message
from repertory.protos.winerecord_pb2 import WineRecord

WINE = "repertory.protos.winerecord_pb2:WineRecord"


def test_spellings_of_one_name_are_equal() -> None:
    spellings = [
        "fixed acidity",
        "fixed_acidity",
        "fixedAcidity",
        "Fixed.Acidity",
        "fixed_acidity:0",
    ]
    assert {normalise(spelling) for spelling in spellings} == {"fixedacidity"}


def test_a_name_without_letters_is_compared_as_it_is() -> None:
    assert normalise("%") != normalise("$")


def test_a_message_is_found_by_its_spec() -> None:
    assert load_message(WINE) is WineRecord


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("WineRecord", "write it as module:Class"),
        ("repertory.nowhere:WineRecord", "cannot be imported"),
        ("repertory.protos.winerecord_pb2:Beer", "has no protobuf message Beer"),
        ("repertory.errors:RepertoryError", "has no protobuf message RepertoryError"),
    ],
)
def test_a_wrong_message_spec_is_explained(spec: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        load_message(spec)


def test_features_take_their_kind_from_the_message() -> None:
    schema = schema_of("wine", DataType(message=WINE, features=("pH", "dataType", "ts")))
    kinds = [feature.kind for feature in schema.features]
    assert kinds == [FeatureKind.NUMBER, FeatureKind.TEXT, FeatureKind.NUMBER]


def test_a_feature_that_no_field_has_is_named() -> None:
    with pytest.raises(ConfigError, match=r"data_types\.wine\.features: 'ph' is not a field"):
        schema_of("wine", DataType(message=WINE, features=("ph",)))


def test_features_that_models_cannot_tell_apart_are_refused() -> None:
    with pytest.raises(ConfigError, match="are one name to models"):
        # As it would be with fields `pH` and `p_h`, which the example has not.
        schema_of("wine", DataType.model_construct(message=WINE, features=("pH", "pH")))
