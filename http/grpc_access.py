"""Who gets in over gRPC: the same as over HTTP, by a token in the metadata `authorization`."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias
from urllib.parse import unquote

import grpc

from repertory.errors import RequestFailed
from repertory.http import grpc_oip, grpc_tfs, grpc_tfs_models
from repertory.http.access import Access
from repertory.http.face_tls import certificate_names
from repertory.http.grpc_calls import STATUSES, Context
from repertory.http.proxies import HEADER
from repertory.http.standing import Standing
from repertory.http.visitor import ADMIN, OPEN, PUBLISH, READ, SCORE, Needed, Visitor, visit

FORWARDED = HEADER.lower()
HEALTH, REFLECTION = "/grpc.health.v1.Health/", "/grpc.reflection.v1alpha.ServerReflection/"
_ROLES: dict[str, Needed] = {
    **dict.fromkeys(("ServerLive", "ServerReady"), OPEN),
    **dict.fromkeys(("ServerMetadata", "ModelReady", "ModelMetadata", "ModelConfig"), READ),
    **dict.fromkeys(("ModelStatistics", "RepositoryIndex"), READ),
    **dict.fromkeys(("ModelInfer", "ModelStreamInfer"), SCORE),
    **dict.fromkeys(("RepositoryModelLoad", "RepositoryModelUnload"), PUBLISH),
}
_SCORING = ("Predict", "Classify", "Regress", "MultiInference")
_ROLES = {
    **{f"/{grpc_oip.SERVICE}/{name}": role for name, role in _ROLES.items()},
    **{f"/{grpc_tfs.SERVICE}/{name}": SCORE for name in _SCORING},
    f"/{grpc_tfs.SERVICE}/GetModelMetadata": READ,
    f"/{grpc_tfs_models.SERVICE}/GetModelStatus": READ,
}
# Those that tell of all data types.
_OF_ALL = frozenset({f"/{grpc_oip.SERVICE}/RepositoryIndex"})

_Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


class GrpcAccess(grpc.aio.ServerInterceptor):
    """Lets calls in, or ends them with UNAUTHENTICATED, PERMISSION_DENIED or RESOURCE_EXHAUSTED."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable["_Handler | None"]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "_Handler | None":
        """Return what answers a call, behind a look at who it is from."""
        method = str(handler_call_details.method)
        handler, role = await continuation(handler_call_details), role_of(method)
        if handler is None or role == OPEN:
            return handler
        if handler.request_streaming:
            guarded = self._stream(handler.stream_stream, method, role)
            kind = grpc.stream_stream_rpc_method_handler
        else:
            guarded = self._unary(handler.unary_unary, method, role)
            # As a stream of one request: gRPC reads it when it is asked to, which strangers' are not.
            kind = grpc.stream_unary_rpc_method_handler
        return kind(guarded, handler.request_deserializer, handler.response_serializer)

    def _unary(self, answer: Any, method: str, role: Needed) -> Any:
        async def guarded(requests: AsyncIterator[Any], context: Context) -> Any:
            visitor = await self._enter(context, method, role)
            async for request in requests:
                return await answer(request, context)
            # gRPC has ended the call already, and tells its client why.
            visitor.tell_refused("the message is larger than http.max_body_mb, or cut off")
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "the message is too large")

        return guarded

    def _stream(self, answer: Any, method: str, role: Needed) -> Any:
        async def guarded(requests: Any, context: Context) -> AsyncIterator[Any]:
            visitor, standing = await self._enter(context, method, role), Standing()
            try:
                with standing.watched(visitor):
                    async for reply in answer(standing.requests(requests), context):
                        yield reply
            except RequestFailed as error:  # of a service that is not ours
                await context.abort(STATUSES[type(error)], str(error))

        return guarded

    async def _enter(self, context: Context, method: str, role: Needed) -> Visitor:
        """Have a call, which is a task of its own, be its visitor's, or end it."""
        metadata = context.invocation_metadata() or ()
        header = dict(metadata).get("authorization")
        forwarded = [str(value) for key, value in metadata if key == FORWARDED]
        try:
            visitor = await self._access.visitor(
                None if header is None else str(header),
                names=_names(context) if self._access.by_certificate else frozenset(),
                address=self._access.address(_address(context.peer()), forwarded),
                what=f"gRPC {method}",
            )
            visitor.demand(role)
            if method in _OF_ALL:
                visitor.demand_data_type(None)
        except RequestFailed as error:
            await context.abort(STATUSES[type(error)], str(error))
        visit(visitor)
        return visitor


def role_of(method: str) -> Needed:
    """Return the role that a method needs, by its full name; the strictest if it is not known."""
    if method.startswith(HEALTH):
        return OPEN
    if method.startswith(REFLECTION):
        return READ
    return _ROLES.get(method, ADMIN)


def _names(context: Context) -> frozenset[str]:
    """Return the names in the certificate that a client showed: those that count over HTTP."""
    shown = next(iter(context.auth_context().get("x509_pem_cert", ())), None)
    return frozenset() if shown is None else certificate_names(shown)


def _address(peer: str) -> str:
    """Return the address in what gRPC calls a peer, `ipv4:127.0.0.1:40000`, without its port."""
    return unquote(peer).partition(":")[2].rpartition(":")[0].strip("[]")
