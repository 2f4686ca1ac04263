"""The screen of `repertory top`: drawn anew at each look and when its size changes, until `q`."""

import asyncio
import contextlib
import os
import signal
import sys
import termios
import tty
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from repertory.cli_top_asking import Look, Watcher
from repertory.cli_top_figures import headline, node_sheet, remarks, serving_sheet
from repertory.http.caller import CallFailed

# The headline, two empty lines, two headers, the last line; and one for a remark.
OTHER_LINES = 7
MOST_REMARKS = 5
QUIT = b"qQ\x04"  # Ctrl-D, too: who is in doubt tries it

T = TypeVar("T")


class Screen:
    """Watches a cluster, and shows it on a terminal. `stop` ends it, as do `q` and Ctrl-D."""

    def __init__(self, watcher: Watcher, console: Console, every: float) -> None:
        self._watcher = watcher
        self._console = console
        self._every = every
        self._look: Look | None = None
        self._before: Look | None = None
        self._fault = ""

    async def show(self, stop: asyncio.Event) -> None:
        """Show it until `stop` is set. Raises CallFailed when no node answers to begin with."""
        await until(stop, self._ask())
        if self._fault:
            raise CallFailed(self._fault)
        if self._look is None:
            return  # it was stopped before there was an answer
        loop = asyncio.get_running_loop()
        with self._keys(stop), Live(console=self._console, screen=True, auto_refresh=False) as live:

            def draw() -> None:
                live.update(self._page(), refresh=True)

            loop.add_signal_handler(signal.SIGWINCH, draw)
            try:
                while not stop.is_set():
                    draw()
                    await until(stop, asyncio.sleep(self._every))
                    await until(stop, self._ask())
            finally:
                loop.remove_signal_handler(signal.SIGWINCH)

    async def _ask(self) -> None:
        try:
            look = await self._watcher.look(self._console.height)
        except CallFailed as error:
            self._fault = str(error)
            return
        self._before, self._look, self._fault = self._look, look, ""

    def _page(self) -> RenderableType:
        assert self._look is not None
        return page(self._look, self._before, self._fault, size=self._console.size)

    @contextlib.contextmanager
    def _keys(self, stop: asyncio.Event) -> Iterator[None]:
        """Set `stop` when a key is pressed that says so; show no key that is pressed."""
        if not sys.stdin.isatty():
            yield
            return
        terminal, loop = sys.stdin.fileno(), asyncio.get_running_loop()
        settings = termios.tcgetattr(terminal)

        def pressed() -> None:
            keys = os.read(terminal, 64)
            if not keys or any(key in QUIT for key in keys):  # no keys: the terminal is gone
                loop.remove_reader(terminal)
                stop.set()

        tty.setcbreak(terminal)
        loop.add_reader(terminal, pressed)
        try:
            yield
        finally:
            loop.remove_reader(terminal)
            termios.tcsetattr(terminal, termios.TCSADRAIN, settings)


def page(look: Look, before: Look | None, fault: str, *, size: tuple[int, int]) -> RenderableType:
    """Return what fits into a terminal of this width and height."""
    width, height = size
    said = [fault] if fault else list(remarks(look))
    shown = said[
        : max(1, min(MOST_REMARKS, height - OTHER_LINES - len(look.cluster["members"]) - 3))
    ]
    nodes, serving = node_sheet(look).fitted(width), serving_sheet(look, before).fitted(width)
    room = max(1, height - OTHER_LINES - len(nodes.rows) - len(shown))
    hidden = max(0, len(serving.rows) - room) + look.more
    return Group(
        _line(headline(look, before), "bold"),
        Text(),
        nodes.as_table(),
        Text(),
        serving.first(room).as_table(),
        *(_line(sentence, "red" if fault else "yellow") for sentence in shown),
        _line(f"q ends it{f'; {hidden} more: name some data types' if hidden else ''}", "dim"),
    )


def _line(text: str, style: str) -> Text:
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


async def until(stop: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """Return what `work` returns, or None as soon as `stop` is set."""
    task, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((task, stopping), return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        for each in (task, stopping):
            each.cancel()
        await asyncio.gather(task, stopping, return_exceptions=True)
