"""The reply to an inference of the Open Inference Protocol."""

from collections.abc import Sequence
from typing import Any

import orjson
from aiohttp import web

from repertory.errors import InvalidRequest
from repertory.http.inference import LABEL, PROBABILITIES, VALUE, Inferred
from repertory.http.oip_binary import LENGTH_HEADER, binary_elements
from repertory.http.oip_json import json_elements
from repertory.http.oip_request import BINARY_SIZE, InferRequest, Wanted
from repertory.http.tensors import Tensor
from repertory.http.traceability import model_headers

# Of all kinds of models.
NAMES = (VALUE, LABEL, PROBABILITIES)


def check_outputs(request: InferRequest) -> None:
    """Raise InvalidRequest when no model has an output that is asked for."""
    for each in request.outputs:
        if each.name not in NAMES:
            raise InvalidRequest(
                f"there is no output {each.name!r}; there are: {', '.join(NAMES)}, as the model has"
            )


def wanted_outputs(request: InferRequest, inferred: Inferred) -> Sequence[tuple[Wanted, Tensor]]:
    """Return the outputs that are asked for, or all. Raises InvalidRequest for one that is not."""
    found = {each.name: each for each in inferred.outputs}
    wanted = request.outputs or tuple(Wanted(each, request.binary) for each in found)
    for output in wanted:
        if output.name not in found:
            raise InvalidRequest(
                f"model {inferred.model.name!r} gives no output {output.name!r}; it gives:"
                f" {', '.join(found)}"
            )
    return [(output, found[output.name]) for output in wanted]


def infer_reply(name: str, request: InferRequest, inferred: Inferred) -> web.Response:
    """Return the outputs that were asked for, and which model version they are of."""
    outputs, parts = [], []
    wanted = wanted_outputs(request, inferred)
    for output, tensor in wanted:
        if output.binary:
            parts.append(binary_elements(tensor))
            outputs.append(_about(tensor) | {"parameters": {BINARY_SIZE: len(parts[-1])}})
        else:
            outputs.append(_about(tensor) | {"data": json_elements(tensor)})
    document: dict[str, Any] = {
        "model_name": name,
        "model_version": str(inferred.model.version),
        **({} if request.id is None else {"id": request.id}),
        "parameters": model_parameters(inferred),
        "outputs": outputs,
    }
    head = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    headers = model_headers(inferred.model)
    if not parts:
        return web.Response(body=head, headers=headers, content_type="application/json")
    return web.Response(
        body=b"".join((head, *parts)),
        headers={**headers, LENGTH_HEADER: str(len(head))},
        content_type="application/octet-stream",
    )


def _about(tensor: Tensor) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "datatype": tensor.datatype,
        "shape": list(tensor.values.shape),
    }


def model_parameters(inferred: Inferred) -> dict[str, str | int]:
    """Return the parameters of a reply: which model version it is of."""
    model, labels = inferred.model, inferred.labels
    return {
        "data_type": inferred.data_type,
        "model": model.name,
        "version": model.version,
        "sha256": model.sha256,
        # A parameter is a string, a number or a truth value: so this is JSON in a string.
        **({"labels": orjson.dumps(labels).decode()} if labels else {}),
    }
