"""What keeps a process from its work, told to its router for as long as it lasts."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from repertory.actors.client import RouterClient

TELL_SECONDS = 1.0  # how soon a new router knows

log = structlog.get_logger(__name__)


class Troubles:
    """Sentences, each by what it is about. While there is one, the node is not ready."""

    def __init__(self) -> None:
        self._sentences: dict[str, str] = {}
        self._changed = asyncio.Event()

    def note(self, about: str, sentence: str | None) -> None:
        """Note what is wrong with something; None: nothing is, or not any more."""
        before = self._sentences.get(about)
        if sentence is None and before is not None:
            del self._sentences[about]
            log.info("a trouble is over", about=about)
        elif sentence is not None:
            self._sentences[about] = sentence
            if before is None:
                log.error("this is in trouble; it is tried again", about=about, why=sentence)
        if before != sentence:
            self._changed.set()

    def __str__(self) -> str:
        return "; ".join(self._sentences.values())

    def __bool__(self) -> bool:
        return bool(self._sentences)

    async def tell(
        self,
        router: RouterClient,
        report: Callable[[], Mapping[str, Any]] = dict,
        *,
        as_warnings: bool = False,
    ) -> None:
        """Tell the router, with what is to be reported besides, until cancelled.

        At each change, as soon as there is a new router, and once a second. The node is ready in
        spite of warnings.
        """
        key = "warnings" if as_warnings else "troubles"
        while True:
            await router.connected.wait()
            router.tell("report", **{key: list(self._sentences.values())}, **report())
            lost = asyncio.create_task(router.lost.wait())
            changed = asyncio.create_task(self._changed.wait())
            try:
                await asyncio.wait(
                    (lost, changed), timeout=TELL_SECONDS, return_when=asyncio.FIRST_COMPLETED
                )
            finally:
                lost.cancel()
                changed.cancel()
            self._changed.clear()
