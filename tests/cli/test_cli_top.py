"""`repertory top` on a terminal, and where there is none."""

import asyncio
import contextlib
import fcntl
import os
import re
import struct
import termios
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.cli.fake_cluster import FakeCluster

SECONDS = 20.0
LEAVES_THE_SCREEN = "\x1b[?1049l"
COLOURS = re.compile(r"\x1b\[[\d;]*m")


@pytest.fixture
async def cluster() -> AsyncIterator[FakeCluster]:
    """Two nodes that answer."""
    async with FakeCluster() as started:
        yield started


class Terminal:
    """A terminal of its own, in which `repertory top` runs."""

    def __init__(self, columns: int, lines: int) -> None:
        self._master, self.slave = os.openpty()
        self.resize(columns, lines)
        self.settings = termios.tcgetattr(self.slave)
        self.shown = ""
        self._changed = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None

    async def run(self, command: Path, *arguments: str) -> None:
        """Start the command, with this as its controlling terminal."""
        asyncio.get_running_loop().add_reader(self._master, self._read)
        environment = {**os.environ, "TERM": "xterm"}
        for name in ("COLUMNS", "LINES", "NO_COLOR"):
            environment.pop(name, None)
        self._process = await asyncio.create_subprocess_exec(
            command, "top", *arguments, env=environment, preexec_fn=self._become_terminal
        )

    def _become_terminal(self) -> None:
        os.login_tty(os.dup(self.slave))

    def _read(self) -> None:
        text = os.read(self._master, 65536).decode(errors="replace")
        self.shown = COLOURS.sub("", self.shown + text)
        self._changed.set()

    def resize(self, columns: int, lines: int) -> None:
        """Give it another size, as a window does."""
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def press(self, keys: bytes) -> None:
        """Type something."""
        os.write(self._master, keys)

    async def shows(self, pattern: str) -> re.Match[str]:
        """Wait until there is something new to be seen that matches; forget what was before."""
        async with asyncio.timeout(SECONDS):
            while (found := re.search(pattern, self.shown, re.DOTALL)) is None:
                self._changed.clear()
                await self._changed.wait()
        self.shown = self.shown[found.end() :]
        return found

    async def ends(self) -> int:
        """Wait until the command has ended, and return its exit code."""
        assert self._process is not None
        async with asyncio.timeout(SECONDS):
            return await self._process.wait()

    async def close(self) -> None:
        """End what runs, and give the terminal back."""
        asyncio.get_running_loop().remove_reader(self._master)
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        for each in (self._master, self.slave):
            os.close(each)


Open = Callable[..., Awaitable[Terminal]]


@pytest.fixture
async def watch(cluster: FakeCluster, command: Path) -> AsyncIterator[Open]:
    """Watch the cluster in a terminal of a size."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(columns: int = 120, lines: int = 30, *more: str) -> Terminal:
            terminal = Terminal(columns, lines)
            stack.push_async_callback(terminal.close)
            await terminal.run(command, "--url", cluster.url("a"), "--every", "0.2", *more)
            return terminal

        yield start


async def test_rates_change_as_one_watches_and_q_ends_it_leaving_all_as_it_was(watch: Open) -> None:
    terminal = await watch()
    await terminal.shows(r"nodes: 2 up.*wine +forest +3 +a, b +- ")
    await terminal.shows(r"wine +forest +3 +a, b +\d\d+ ")
    terminal.press(b"q")
    assert await terminal.ends() == 0
    await terminal.shows(re.escape(LEAVES_THE_SCREEN))
    assert termios.tcgetattr(terminal.slave) == terminal.settings


async def test_ctrl_c_ends_it_as_cleanly(watch: Open) -> None:
    terminal = await watch()
    await terminal.shows("wine")
    terminal.press(b"\x03")
    assert await terminal.ends() == 0
    await terminal.shows(re.escape(LEAVES_THE_SCREEN))
    assert "Traceback" not in terminal.shown
    assert termios.tcgetattr(terminal.slave) == terminal.settings


async def test_a_window_that_is_widened_shows_more_at_once(watch: Open) -> None:
    terminal = await watch(34, 12, "--every", "60")
    narrow = await terminal.shows(r"data type.*?records/s.*q ends it")
    assert "p99 ms" not in narrow[0]
    terminal.resize(120, 30)
    await terminal.shows(r"p50 ms +p99 ms +lag")
    terminal.press(b"q")
    assert await terminal.ends() == 0


async def test_it_goes_on_with_another_node_when_one_dies(
    watch: Open, cluster: FakeCluster
) -> None:
    terminal = await watch()
    await terminal.shows(cluster.url("a"))
    await cluster.lose("a")
    await terminal.shows(rf"nodes: 1 down, 1 up.*{cluster.url('b')}.*node a: silent for 5\.2 s")
    terminal.press(b"q")
    assert await terminal.ends() == 0


async def test_it_says_so_when_no_node_answers_and_goes_on(
    watch: Open, cluster: FakeCluster
) -> None:
    terminal = await watch()
    await terminal.shows("wine")
    for node in ("a", "b"):
        await cluster.lose(node)
    await terminal.shows(rf"no node answers at {cluster.url('a')}")
    terminal.press(b"q")
    assert await terminal.ends() == 0


@pytest.mark.parametrize("more", [(), ("--once",)])
async def test_what_is_no_terminal_gets_plain_text_once(
    more: tuple[str, ...], cluster: FakeCluster, repertory: Callable[..., Any]
) -> None:
    asked = ("top", "wine", "--url", cluster.url("a"), "--every", "0.2", *more)
    ended = await asyncio.to_thread(repertory, *asked)
    assert (ended.code, ended.err) == (0, "")
    assert "\x1b" not in ended.out
    assert ended.out.startswith("nodes: 2 up  leader a  ")
    assert re.search(r"^wine +forest +3  a, b +[\d,]+ +0 +1\.99", ended.out, re.MULTILINE)


async def test_without_a_node_it_ends_with_the_reason(
    repertory: Callable[..., Any], free_ports: Callable[[], int]
) -> None:
    ended = await asyncio.to_thread(repertory, "top", "--url", f"127.0.0.1:{free_ports()}")
    assert (ended.code, ended.out) == (1, "")
    assert "is `repertory up` running?" in ended.err
