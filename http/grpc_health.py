"""The standard health service of gRPC, `grpc.health.v1.Health`."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from typing import Any

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthServicer

# How late a watcher may hear of a change.
LOOK_SECONDS = 0.5


class GrpcHealth(HealthServicer):
    """Says for each service, and for all (""), whether the node is ready."""

    def __init__(
        self,
        services: Collection[str],
        ready: Callable[[], Awaitable[bool]],
        ending: asyncio.Event,
    ) -> None:
        self._services = frozenset({"", *services})
        self._ready = ready
        self._ending = ending

    async def Check(
        self, request: HealthCheckRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> HealthCheckResponse:
        """Answer how it is now; NOT_FOUND for a service that is not here."""
        if request.service not in self._services:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no service {request.service!r}")
        return HealthCheckResponse(status=await self._status(request.service))

    async def Watch(
        self, request: HealthCheckRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[HealthCheckResponse]:
        """Answer how it is now, and again when that has changed, until the process ends."""
        told = None
        while not self._ending.is_set():
            status = await self._status(request.service)
            if status != told:
                yield HealthCheckResponse(status=status)
            told = status
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._ending.wait()

    async def _status(self, service: str) -> int:
        if service not in self._services:
            return HealthCheckResponse.SERVICE_UNKNOWN
        if await self._ready():
            return HealthCheckResponse.SERVING
        return HealthCheckResponse.NOT_SERVING
