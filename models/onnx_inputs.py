"""Which features an ONNX graph takes, and in which of its inputs."""

from collections.abc import Mapping

import onnx
from onnx import TensorProto, helper

from repertory.errors import ModelRejected
from repertory.models.model import (
    Feature,
    FeatureKind,
    InputFeature,
    InputTensor,
    Schema,
    Vector,
)
from repertory.models.names import normalise

_DTYPES: dict[int, str] = {
    TensorProto.FLOAT: "float32",
    TensorProto.DOUBLE: "float64",
    TensorProto.FLOAT16: "float16",
    TensorProto.INT8: "int8",
    TensorProto.INT16: "int16",
    TensorProto.INT32: "int32",
    TensorProto.INT64: "int64",
    TensorProto.UINT8: "uint8",
    TensorProto.UINT16: "uint16",
    TensorProto.UINT32: "uint32",
    TensorProto.UINT64: "uint64",
    TensorProto.BOOL: "bool",
    TensorProto.STRING: "object",
}

Shape = list[int | None] | None


def match_inputs(
    graph: onnx.GraphProto, schema: Schema, aliases: Mapping[str, str]
) -> tuple[InputTensor, ...]:
    """Return the inputs of a graph by feature of the schema. Raises ModelRejected.

    Either one input [n, features] takes all features in the schema's order, or each input, [n, 1]
    or [n], takes the feature whose name it has, or, [n, width], the vector.
    """
    inputs = [(source.name, *_type(source)) for source in inputs_of(graph)]
    return match_tensors(inputs, schema, aliases)


def inputs_of(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """Return the inputs that must be given: those without a default."""
    defaults = {tensor.name for tensor in graph.initializer}
    return [source for source in graph.input if source.name not in defaults]


def match_tensors(
    inputs: list[tuple[str, str, Shape]], schema: Schema, aliases: Mapping[str, str]
) -> tuple[InputTensor, ...]:
    """Return inputs, given as name, dtype and shape, by feature of the schema.

    See `match_inputs`; a tensor that has an alias is matched by that.
    """
    if not inputs:
        raise ModelRejected("the model has no inputs")
    by_name: dict[str, Feature | Vector] = {
        normalise(each.name): each for each in (*schema.features, *schema.fields)
    }
    features = [by_name.get(normalise(aliases.get(name, name))) for name, _, _ in inputs]
    if len(inputs) == 1 and not (features[0] and _takes(inputs[0][2], features[0])):
        return (_matrix(*inputs[0], schema),)
    tensors = tuple(
        _named(*source, feature, schema) for source, feature in zip(inputs, features, strict=True)
    )
    taken = [tensor.features[0].name for tensor in tensors]
    doubled = next((name for name in taken if taken.count(name) > 1), None)
    if doubled:
        raise ModelRejected(f"two inputs of the model are called {doubled!r}")
    return tensors


def _matrix(name: str, dtype: str, shape: Shape, schema: Schema) -> InputTensor:
    width = len(schema.features)
    if shape is not None and len(shape) != 2:
        raise ModelRejected(
            f"input {name!r} has {len(shape)} dimensions; records give two: [n, {width}]"
        )
    if shape is not None and shape[1] not in (None, width):
        raise ModelRejected(
            f"input {name!r} takes {shape[1]} features, but {schema.data_type} has {width}: "
            + schema.described()
        )
    for feature in schema.features:
        _refuse_wrong_kind(name, dtype, feature)
    return InputTensor(name, dtype, tuple(InputFeature(f.name) for f in schema.features))


def _named(
    name: str, dtype: str, shape: Shape, feature: Feature | Vector | None, schema: Schema
) -> InputTensor:
    if feature is None:
        raise ModelRejected(
            f"input {name!r} is not a feature of {schema.data_type}, which has "
            + schema.described()
        )
    if not _takes(shape, feature):
        due = "one feature has [n, 1] or [n]"
        if isinstance(feature, Vector):
            due = f"{feature} has [n, {feature.width}]"
        raise ModelRejected(f"input {name!r} has shape {shape}; {due}")
    features = feature.features() if isinstance(feature, Vector) else (feature,)
    _refuse_wrong_kind(name, dtype, features[0])
    rank = 2 if shape is None else len(shape)
    return InputTensor(name, dtype, tuple(InputFeature(each.name) for each in features), rank)


def _takes(shape: Shape, feature: Feature | Vector) -> bool:
    if isinstance(feature, Vector):
        return shape is None or (len(shape) == 2 and shape[1] in (None, feature.width))
    return shape is None or len(shape) == 1 or (len(shape) == 2 and shape[1] in (None, 1))


def _refuse_wrong_kind(name: str, dtype: str, feature: Feature) -> None:
    is_text = feature.kind is FeatureKind.TEXT
    if is_text != (dtype == "object"):
        takes = "text" if dtype == "object" else "numbers"
        raise ModelRejected(
            f"input {name!r} takes {takes}, but {feature.name} is a {feature.kind.value}"
        )


def _type(source: onnx.ValueInfoProto) -> tuple[str, Shape]:
    if not source.type.HasField("tensor_type"):
        raise ModelRejected(f"input {source.name!r} is not a tensor")
    tensor = source.type.tensor_type
    dtype = _DTYPES.get(tensor.elem_type)
    if dtype is None:
        element = TensorProto.DataType.Name(tensor.elem_type)
        raise ModelRejected(f"input {source.name!r} is of {element}, which records cannot give")
    if not tensor.HasField("shape"):
        return dtype, None
    return dtype, [dim.dim_value if dim.HasField("dim_value") else None for dim in tensor.shape.dim]


def with_batch(
    model: onnx.ModelProto, tensors: tuple[InputTensor, ...], batch: int | str
) -> onnx.ModelProto:
    """Return a copy that takes `batch` records at a time: a number, or a name for any number.

    What the model says of shapes further on is forgotten, since it may hold for its own batch only.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    widths = {tensor.name: (tensor.rank, len(tensor.features)) for tensor in tensors}
    for source in copy.graph.input:
        if source.name in widths:
            rank, width = widths[source.name]
            element = source.type.tensor_type.elem_type
            shape = [batch, width][:rank]
            source.CopyFrom(helper.make_tensor_value_info(source.name, element, shape))
    for target in copy.graph.output:
        target.type.tensor_type.ClearField("shape")
    del copy.graph.value_info[:]
    return copy
