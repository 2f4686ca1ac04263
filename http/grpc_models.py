"""What the Open Inference Protocol tells of models, and does with them, over gRPC.

What is told is the same as over REST, so that it is made there, as JSON has it.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, TypeVar

from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message

from repertory.actors.client import RouterClient
from repertory.config import ClusterConfig
from repertory.errors import InvalidRequest, NotFound, UnknownDataType
from repertory.http.grpc_calls import Context, Method
from repertory.http.oip_models import Models
from repertory.http.oip_repository import Repository
from repertory.http.oip_statistics import Statistics
from repertory.http.routes import Core
from repertory.http.spool import Spool
from repertory.http.upload import Question
from repertory.protos.private import oip_pb2 as oip

_FILE = "file:"
_DATA_TYPE, _SIGNATURE = "dataType", "signature"

_Reply = TypeVar("_Reply", bound=Message)


class ModelCalls:
    """Answers the calls about models."""

    def __init__(self, config: ClusterConfig, router: RouterClient, core: Core) -> None:
        self._models = Models(config, router, core.inference)
        self._statistics = Statistics(router, self._models)
        self._repository = Repository(router, core.inference, self._models, core.publishing)

    def methods(self) -> Mapping[str, Method]:
        """Return the methods, by name."""
        return {
            "ModelReady": Method(oip.ModelReadyRequest, self.ready),
            "ModelMetadata": Method(oip.ModelMetadataRequest, self.metadata),
            "ModelConfig": Method(oip.ModelConfigRequest, self.config),
            "ModelStatistics": Method(oip.ModelStatisticsRequest, self.statistics),
            "RepositoryIndex": Method(oip.RepositoryIndexRequest, self.index),
            "RepositoryModelLoad": Method(oip.RepositoryModelLoadRequest, self.load),
            "RepositoryModelUnload": Method(oip.RepositoryModelUnloadRequest, self.unload),
        }

    async def ready(self, asked: oip.ModelReadyRequest, _: Context) -> oip.ModelReadyResponse:
        """Answer whether a model serves that is meant; one that is not known does not."""
        try:
            named = await self._models.find(asked.name, asked.version)
        except (UnknownDataType, NotFound):
            return oip.ModelReadyResponse(ready=False)
        return oip.ModelReadyResponse(ready=bool(named.models))

    async def metadata(
        self, asked: oip.ModelMetadataRequest, _: Context
    ) -> oip.ModelMetadataResponse:
        """Answer what the inputs and the outputs are, and which versions serve."""
        named = await self._models.find(asked.name, asked.version)
        return _message(self._models.metadata_of(named), oip.ModelMetadataResponse())

    async def config(self, asked: oip.ModelConfigRequest, _: Context) -> oip.ModelConfigResponse:
        """Answer how a model is served."""
        named = await self._models.find(asked.name, asked.version)
        return _message({"config": self._models.config_of(named)}, oip.ModelConfigResponse())

    async def statistics(
        self, asked: oip.ModelStatisticsRequest, _: Context
    ) -> oip.ModelStatisticsResponse:
        """Answer what the models did that are named, or all."""
        if asked.name:
            told = await self._statistics.of(await self._models.find(asked.name, asked.version))
        else:
            told = await self._statistics.of_all()
        return _message(told, oip.ModelStatisticsResponse())

    async def index(
        self, asked: oip.RepositoryIndexRequest, _: Context
    ) -> oip.RepositoryIndexResponse:
        """Answer what became of each version of each data type, or which are ready alone."""
        entries = await self._repository.entries(only_ready=asked.ready)
        return _message({"models": entries}, oip.RepositoryIndexResponse())

    async def load(
        self, asked: oip.RepositoryModelLoadRequest, _: Context
    ) -> oip.RepositoryModelLoadResponse:
        """Publish the file in the request; it serves when there is a reply."""

        async def read(spool: Spool) -> Question:
            return await _spooled(asked.parameters, spool)

        data_type = (
            asked.parameters[_DATA_TYPE].string_param if _DATA_TYPE in asked.parameters else None
        )
        await self._repository.publish(asked.model_name, data_type, read)
        return oip.RepositoryModelLoadResponse()

    async def unload(
        self, asked: oip.RepositoryModelUnloadRequest, _: Context
    ) -> oip.RepositoryModelUnloadResponse:
        """Retire what a data type has on stage; it has left when there is a reply."""
        await self._repository.retire(asked.model_name)
        return oip.RepositoryModelUnloadResponse()


def _message(told: Mapping[str, Any], message: _Reply) -> _Reply:
    """Return a message of what it has fields for."""
    return ParseDict(dict(told), message, ignore_unknown_fields=True)


async def _spooled(
    parameters: Mapping[str, oip.ModelRepositoryParameter], spool: Spool
) -> Question:
    """Put the one file of a request in a spool; nothing when it has none."""
    files = [key for key in parameters if key.startswith(_FILE)]
    if not files:
        return {}
    if len(files) > 1:
        raise InvalidRequest(
            f"a model is one file, not {len(files)} ({', '.join(files)}): send a SavedModel as .zip"
        )
    content = parameters[files[0]]
    if content.WhichOneof("parameter_choice") != "bytes_param":
        raise InvalidRequest(f"{files[0]} must be a model's content, as bytes_param")
    file = spool.open()
    await asyncio.to_thread(file.write, content.bytes_param)
    signature = parameters[_SIGNATURE].string_param if _SIGNATURE in parameters else None
    return {"content_file": str(file.path), "signature": signature}
