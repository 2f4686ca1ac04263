"""What a TensorFlow graph may hold, judged before TensorFlow imports it.

A graph that TensorFlow imports may read and write files, call Python, and open connections when it
is run, and a SavedModel does so when it is loaded. So operators are allowed by name: those that
compute their outputs from their inputs and do nothing else.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from repertory.errors import ModelRejected

_PLUMBING = """
Const Placeholder PlaceholderWithDefault Identity IdentityN NoOp StopGradient PreventGradient
Shape ShapeN Size Rank Reshape Squeeze ExpandDims Transpose ConjugateTranspose InvertPermutation
Concat ConcatV2 ConcatOffset Split SplitV Pack Unpack ParallelConcat Slice StridedSlice Gather
GatherV2 GatherNd ScatterNd TensorScatterUpdate TensorScatterAdd Tile Pad PadV2 MirrorPad Fill
ZerosLike OnesLike Range LinSpace Reverse ReverseV2 ReverseSequence Cast Bitcast Where Select
SelectV2 OneHot TopK TopKV2 ArgMax ArgMin Cumsum Cumprod BroadcastTo BroadcastArgs
BroadcastGradientArgs Unique UniqueV2 Bucketize SpaceToBatchND BatchToSpaceND SpaceToDepth
DepthToSpace MatrixDiag MatrixDiagV2 MatrixDiagV3 MatrixDiagPart MatrixBandPart Diag DiagPart
EnsureShape Assert CheckNumerics DynamicStitch DynamicPartition SearchSorted UpperBound LowerBound
"""
_ARITHMETIC = """
Add AddV2 AddN AccumulateNV2 Sub Mul Div RealDiv DivNoNan FloorDiv FloorMod Mod TruncateDiv
TruncateMod MulNoNan Xdivy Xlogy Xlog1py Pow Square SquaredDifference Sqrt Rsqrt Exp Expm1 Log Log1p
Abs Neg Sign Reciprocal Inv Floor Ceil Round Rint Sin Cos Tan Asin Acos Atan Atan2 Sinh Cosh Tanh
Asinh Acosh Atanh Sigmoid Softplus Softsign Erf Erfc Erfinv Ndtri Lgamma Digamma Igamma Igammac
Betainc Zeta Polygamma BesselI0e BesselI1e Minimum Maximum ClipByValue IsFinite IsInf IsNan Equal
NotEqual Less LessEqual Greater GreaterEqual ApproximateEqual LogicalAnd LogicalOr LogicalNot
BitwiseAnd BitwiseOr BitwiseXor Invert LeftShift RightShift NextAfter
Sum Mean Prod Max Min All Any EuclideanNorm SegmentSum SegmentMean SegmentMax SegmentMin SegmentProd
UnsortedSegmentSum UnsortedSegmentMax UnsortedSegmentMin UnsortedSegmentProd
MatMul BatchMatMul BatchMatMulV2 BatchMatMulV3 Einsum BiasAdd BiasAddV1 Cross L2Loss
"""
_NETWORKS = """
Relu Relu6 LeakyRelu Elu Selu Softmax LogSoftmax FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3
BatchNormWithGlobalNormalization LRN InTopK InTopKV2 Conv2D Conv3D DepthwiseConv2dNative MaxPool
MaxPoolV2 AvgPool MaxPool3D AvgPool3D
"""
_TEXTS = """
AsString StringJoin StringLower StringUpper StringStrip StringLength StringToNumber
StringToHashBucketFast StringToHashBucketStrong Substr
"""
_CONTROL = """
PartitionedCall StatefulPartitionedCall If StatelessIf Case StatelessCase While StatelessWhile
Switch Merge Enter Exit NextIteration LoopCond
TensorListReserve TensorListFromTensor TensorListStack TensorListGetItem TensorListSetItem
TensorListLength TensorListElementShape EmptyTensorList TensorListPushBack TensorListPopBack
"""
ALLOWED = frozenset(f"{_PLUMBING} {_ARITHMETIC} {_NETWORKS} {_TEXTS} {_CONTROL}".split())

# Of a SavedModel that is about to be frozen.
VARIABLES = frozenset({"VarHandleOp", "VariableV2", "Variable"})
ALLOWED_UNFROZEN = ALLOWED | VARIABLES | {"ReadVariableOp", "ResourceGather"}

_NEVER_OUTPUTS = {"Const", "Placeholder", "PlaceholderWithDefault", "NoOp", "Assert"}

Graph = Any  # a GraphDef; generated protobuf classes of TensorFlow are untyped


def judge(graph: Graph, allowed: frozenset[str] = ALLOWED) -> None:
    """Refuse a graph with an operator, in it or in its function library, that is not allowed."""
    functions = {function.signature.name for function in graph.library.function}
    for node in _all_nodes(graph):
        if node.op in VARIABLES and node.op not in allowed:
            raise ModelRejected(
                f"the graph is not frozen: {node.name!r} is a variable ({node.op}); "
                "freeze it, or publish the SavedModel"
            )
        if node.op not in allowed and node.op not in functions:
            raise ModelRejected(
                f"operator {node.op} (node {node.name!r}) is not served: only operators that "
                "compute outputs from inputs are"
            )


def cut(graph: Graph, outputs: Iterable[str]) -> Graph:
    """Return the part of a graph that `outputs` (tensors or nodes) are computed from, and no more.

    Functions that it does not call are left out, and so are devices and private attributes, which
    ask for compilers and places that are not here. Raises ModelRejected for a missing node.
    """
    nodes = {node.name: node for node in graph.node}
    functions = {function.signature.name: function for function in graph.library.function}
    waiting = [node_of(name) for name in outputs]
    kept: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in kept:
            continue
        if name not in nodes:
            raise ModelRejected(f"the graph has no node {name!r}")
        kept.add(name)
        waiting.extend(map(node_of, nodes[name].input))
    part = type(graph)()
    part.versions.CopyFrom(graph.versions)
    part.node.extend(node for node in graph.node if node.name in kept)
    part.library.function.extend(_called(part.node, functions))
    for node in _all_nodes(part):
        node.device = ""
        for attribute in [name for name in node.attr if name.startswith("_")]:
            del node.attr[attribute]
    return part


def _called(nodes: Iterable[Any], functions: dict[str, Any]) -> Iterator[Any]:
    waiting = [name for node in nodes for name in _names_called(node)]
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen or name not in functions:
            continue
        seen.add(name)
        yield functions[name]
        waiting.extend(n for node in functions[name].node_def for n in _names_called(node))


def _names_called(node: Any) -> Iterator[str]:
    yield node.op
    for value in node.attr.values():
        if value.HasField("func"):
            yield value.func.name
        for function in value.list.func:
            yield function.name


def _all_nodes(graph: Graph) -> Iterator[Any]:
    yield from graph.node
    for function in graph.library.function:
        yield from function.node_def


def node_of(tensor: str) -> str:
    """Return the name of the node that makes a tensor, or that a control edge starts from."""
    return tensor.removeprefix("^").partition(":")[0]


def ends(graph: Graph) -> list[str]:
    """Return the tensors that nothing in the graph takes, and that depend on its placeholders."""
    taken = {node_of(name) for node in graph.node for name in node.input}
    fed = _fed(graph)
    return [
        f"{node.name}:0"
        for node in graph.node
        if node.name not in taken and node.op not in _NEVER_OUTPUTS and node.name in fed
    ]


def _fed(graph: Graph) -> set[str]:
    """Return the nodes that placeholders lead to."""
    takers: dict[str, list[str]] = {}
    for node in graph.node:
        for name in node.input:
            takers.setdefault(node_of(name), []).append(node.name)
    waiting = [node.name for node in graph.node if node.op == "Placeholder"]
    fed: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in fed:
            fed.add(name)
            waiting.extend(takers.get(name, ()))
    return fed


def placeholders(graph: Graph) -> list[tuple[str, int, list[int | None] | None]]:
    """Return the tensors that must be fed: name, data type, and shape (None where unknown)."""
    found = []
    for node in graph.node:
        if node.op == "Placeholder":
            shape = node.attr["shape"].shape
            known = "shape" in node.attr and not shape.unknown_rank
            # Old exporters write no dimensions where they mean that they do not know them.
            dims = [None if dim.size < 0 else dim.size for dim in shape.dim] if known else None
            found.append((f"{node.name}:0", node.attr["dtype"].type, dims or None))
    return found
