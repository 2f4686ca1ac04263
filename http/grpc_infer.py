"""Requests and replies of `ModelInfer`: what is asked for, and what a model version said."""

from collections.abc import Mapping

from repertory.errors import InvalidRequest
from repertory.http.grpc_tensors import read_inputs, write_outputs
from repertory.http.inference import Inferred
from repertory.http.oip_reply import check_outputs, model_parameters, wanted_outputs
from repertory.http.oip_request import InferRequest, Wanted
from repertory.http.traceability import model_headers
from repertory.protos.private.oip_pb2 import InferParameter, ModelInferRequest, ModelInferResponse

Parameters = Mapping[str, InferParameter]
# What Triton knows beside, and what cannot be left out without another answer.
_NOT_HERE = ("shared_memory_region", "classification")
_MICROSECONDS = 1e-6


def read_infer(message: ModelInferRequest) -> InferRequest:
    """Return what a message asks for. Raises InvalidRequest, naming what is wrong."""
    for each in message.inputs:
        _refuse_others(each.name, each.parameters)
    for output in message.outputs:
        _refuse_others(output.name, output.parameters)
    raw = bool(message.raw_input_contents)
    request = InferRequest(
        tensors=tuple(read_inputs(message)),
        id=message.id,
        outputs=tuple(Wanted(each.name, raw) for each in message.outputs),
        binary=raw,
        seconds=_seconds(message.parameters),
    )
    check_outputs(request)
    return request


def infer_message(name: str, request: InferRequest, inferred: Inferred) -> ModelInferResponse:
    """Return the outputs that were asked for, and which model version they are of."""
    reply = ModelInferResponse(
        model_name=name, model_version=str(inferred.model.version), id=request.id or ""
    )
    for key, value in model_parameters(inferred).items():
        if isinstance(value, str):
            reply.parameters[key].string_param = value
        else:
            reply.parameters[key].int64_param = value
    tensors = [tensor for _, tensor in wanted_outputs(request, inferred)]
    write_outputs(reply, tensors, raw=request.binary)
    return reply


def model_metadata(inferred: Inferred) -> tuple[tuple[str, str], ...]:
    """Return the metadata of a call that say which model version answered, as headers do."""
    return tuple((key.lower(), value) for key, value in model_headers(inferred.model).items())


def _refuse_others(owner: str, parameters: Parameters) -> None:
    for name in _NOT_HERE:
        if name in parameters:
            raise InvalidRequest(f"{owner!r} has the parameter {name}, which is not served here")


def _seconds(parameters: Parameters) -> float | None:
    if "timeout" not in parameters:
        return None
    found = parameters["timeout"]
    kind = found.WhichOneof("parameter_choice")
    microseconds = {"int64_param": found.int64_param, "uint64_param": found.uint64_param}.get(kind)
    if microseconds is None or microseconds < 0:
        raise InvalidRequest("timeout must be a number of microseconds, as int64_param")
    return microseconds * _MICROSECONDS or None  # 0 is Triton's word for none
