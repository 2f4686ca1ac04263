"""What a node does in each phase of its end."""

import asyncio
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import structlog

from repertory.actors.children import Child
from repertory.actors.client import RouterClient
from repertory.actors.phases import Phase, Step, Task, finish_seconds
from repertory.config import ClusterConfig
from repertory.errors import RequestFailed

# A router answers in a millisecond; one that hangs is not waited for.
ASK_SECONDS = 0.5
# To a question that takes its time, beyond that.
ANSWER_SECONDS = 1.0
STOP_TAKING_SECONDS = 0.5
# A face that has finished needs this to commit and to end; it is killed after.
END_SECONDS = 0.7
# A face says itself that it cannot finish in time; that has to arrive.
MARGIN_SECONDS = 0.1
# Those who stop them have limits of their own; this is for when these do not hold.
STOP_ACTORS_SECONDS = 9.0

log = structlog.get_logger(__name__)


class Ending:
    """The phases of a node, with what is done in each; `stop_actors` is what is left at last.

    Of a router that is gone, or knows nothing of a question, no answer is waited for.
    """

    def __init__(
        self,
        config: ClusterConfig,
        client: RouterClient,
        *,
        faces: Sequence[Child],
        stop_actors: Task,
    ) -> None:
        self._config = config
        self._client = client
        self._faces = faces
        self._stop_actors = stop_actors
        self._finish = finish_seconds(config)
        self._handover = config.cluster.handover_ms / 1000 + ANSWER_SECONDS
        self._told: float | None = None  # monotonic seconds: when the first face was told to end

    def phases(self) -> list[Phase]:
        """Return the phases but the last one, which is over when this process is."""
        alone, drain = not self._config.is_cluster, self._config.http.drain_ms / 1000
        grace = self._finish + END_SECONDS
        return [
            Phase(Step.READINESS, drain + ASK_SECONDS, [self._say_not_ready]),
            Phase(
                Step.STOP_TAKING,
                STOP_TAKING_SECONDS,
                [partial(self._stop_taking, face) for face in self._faces],
            ),
            Phase(
                Step.FINISH,
                self._finish + MARGIN_SECONDS,
                [partial(face.done, Step.FINISH) for face in self._faces],
            ),
            Phase(Step.COMMIT, grace, [partial(self._end, face, grace) for face in self._faces]),
            Phase(Step.HAND_OVER, self._handover, [] if alone else [self._hand_over]),
            Phase(Step.LEAVE, ASK_SECONDS, [] if alone else [self._say_farewell]),
            Phase(Step.STOP_ACTORS, STOP_ACTORS_SECONDS, [self._stop_actors]),
        ]

    async def _say_not_ready(self) -> None:
        for face in self._faces:
            face.leave()
        # Those who look at the node's readiness get the time to do so.
        await asyncio.gather(
            self._ask("leave", ASK_SECONDS), asyncio.sleep(self._config.http.drain_ms / 1000)
        )

    async def _stop_taking(self, face: Child) -> None:
        self._told = self._told or time.monotonic()
        await face.terminate()
        await face.done(Step.STOP_TAKING)

    async def _end(self, face: Child, grace: float) -> None:
        assert self._told is not None
        await face.stop(max(0.0, self._told + grace - time.monotonic()))

    async def _hand_over(self) -> None:
        answer = await self._ask("handover", self._handover)
        if kept := answer.get("kept"):
            log.warning("nobody else serves these data types", kept=kept)

    async def _say_farewell(self) -> None:
        await self._ask("farewell", ASK_SECONDS)

    async def _ask(self, subject: str, seconds: float) -> dict[str, Any]:
        return await ask_if_there(self._client, subject, timeout=seconds) or {}


async def ask_if_there(
    client: RouterClient, subject: str, *, timeout: float
) -> dict[str, Any] | None:
    """Ask the router; None when it gives no answer, or is lost meanwhile."""
    asking = asyncio.create_task(client.ask(subject, timeout=timeout))
    lost = asyncio.create_task(client.lost.wait())
    try:
        await asyncio.wait((asking, lost), return_when=asyncio.FIRST_COMPLETED)
        return asking.result() if asking.done() else None
    except RequestFailed:
        return None
    finally:
        asking.cancel()
        lost.cancel()
