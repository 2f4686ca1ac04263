"""The face's gRPC server, beside the one of HTTP and with all that it has in common with it."""

from collections.abc import Mapping, Sequence
from typing import Self

import grpc
import structlog
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.reflection import enable_server_reflection

from repertory.actors.client import RouterClient
from repertory.config import MEBIBYTE, ClusterConfig, Http
from repertory.http import grpc_oip, grpc_tfs, grpc_tfs_models
from repertory.http.face_tls import KeyPair
from repertory.http.grpc_access import GrpcAccess
from repertory.http.grpc_calls import Calls, Method
from repertory.http.grpc_health import GrpcHealth
from repertory.http.grpc_models import ModelCalls
from repertory.http.grpc_oip import OpenInferenceCalls
from repertory.http.grpc_tfs import PredictionCalls
from repertory.http.in_hand import InHand
from repertory.http.routes import Core
from repertory.protos.pool import private_pool

# For the last replies to leave, once nothing is in hand.
LAST_SECONDS = 0.1
# Clients that ask more often whether we are there are told to calm down.
PING_MS = 5_000
# Ours: a client that is gone without a word is noticed after both.
KEEPALIVE_MS, KEEPALIVE_TIMEOUT_MS = 60_000, 20_000
# Calls of one connection at once; more of them wait at the client.
MOST_CALLS = 1000

log = structlog.get_logger(__name__)


class GrpcServer:
    """Listens for gRPC."""

    def __init__(self, server: grpc.aio.Server, calls: Calls) -> None:
        self._server = server
        self._calls = calls

    @classmethod
    async def open(
        cls,
        config: ClusterConfig,
        router: RouterClient,
        *,
        core: Core,
        in_hand: InHand,
        keys: KeyPair | None = None,
    ) -> Self:
        """Listen, with TLS if there are keys for it. Raises SystemExit when the port cannot be had."""
        calls, http = Calls(in_hand), config.http
        server = grpc.aio.server(options=_options(http), interceptors=[GrpcAccess(core.access)])
        services = _services(config, router, core)
        server.add_generic_rpc_handlers([calls.service(*each) for each in services.items()])
        _add_standard_services(
            server, [*services], GrpcHealth(services, core.health.is_ready, calls.ending)
        )
        host, wanted = http.host, http.grpc_port
        try:
            address = f"[{host}]:{wanted}" if ":" in host else f"{host}:{wanted}"
            if keys is None:
                port = server.add_insecure_port(address)
            else:
                port = server.add_secure_port(address, keys.grpc_credentials())
        except RuntimeError as error:
            log.error("cannot listen", host=host, port=wanted, why=str(error))
            raise SystemExit(1) from None
        await server.start()
        log.info("listening for gRPC", host=host, port=port)
        return cls(server, calls)

    def stop_taking(self) -> None:
        """Refuse new calls; what is in hand goes on."""
        self._calls.end()

    async def close(self) -> None:
        """End what is left, such as calls that nothing is in hand of."""
        await self._calls.quiet()
        await self._server.stop(LAST_SECONDS)


def _services(
    config: ClusterConfig, router: RouterClient, core: Core
) -> Mapping[str, Mapping[str, Method]]:
    """Return the methods of each service."""
    oip, models = OpenInferenceCalls(config, core), ModelCalls(config, router, core)
    tfs = PredictionCalls(config, router, core)
    return {
        grpc_oip.SERVICE: {**oip.methods(), **models.methods()},
        grpc_tfs.SERVICE: tfs.methods(),
        grpc_tfs_models.SERVICE: tfs.models.methods(),
    }


def _options(http: Http) -> Sequence[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", http.max_body_mb * MEBIBYTE),
        ("grpc.max_send_message_length", -1),
        # Or another node would get some of our calls; the ports of several processes are reserved.
        ("grpc.so_reuseport", int(http.workers > 1)),
        ("grpc.max_concurrent_streams", MOST_CALLS),
        ("grpc.http2.min_ping_interval_without_data_ms", PING_MS),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.keepalive_time_ms", KEEPALIVE_MS),
        ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
    ]


def _add_standard_services(
    server: grpc.aio.Server, services: Sequence[str], health: GrpcHealth
) -> None:
    add_HealthServicer_to_server(health, server)
    pool = private_pool()
    others = (health_pb2.DESCRIPTOR, reflection_pb2.DESCRIPTOR)
    for file in others:  # for those who reflect on them
        pool.AddSerializedFile(file.serialized_pb)
    named = [each.full_name for file in others for each in file.services_by_name.values()]
    enable_server_reflection([*services, *named], server, pool)
