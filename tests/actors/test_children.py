"""A child is started again whenever it ends, and ends when it is told to."""

import asyncio
import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from repertory.actors import children
from repertory.actors.children import Child
from repertory.actors.phases import Step

# Each start adds a line to `starts`; what follows says how the process ends.
MODULE = """
import os, signal, sys, time
with open({starts!r}, "a") as file:
    file.write(f"{{time.monotonic()}} {{os.getpid()}}\\n")
print("hello from the child", flush=True)
{body}
"""


class World:
    """A folder with a module to run, and what became of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.starts = folder / "starts"

    def child(self, body: str, *, followed: bool = False) -> Child:
        (self.folder / "a_child.py").write_text(MODULE.format(starts=str(self.starts), body=body))
        return Child("child", "a_child", logs=self.folder, followed=followed)

    def times(self) -> list[float]:
        """Return when it was started."""
        if not self.starts.exists():
            return []
        return [float(line.split()[0]) for line in self.starts.read_text().splitlines()]

    async def started(self, count: int = 1) -> None:
        async with asyncio.timeout(30):
            while len(self.times()) < count:
                await asyncio.sleep(0.01)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return World(tmp_path)


WAIT = "signal.pause()"
DEAF = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nopen({!r}, 'w').close()\nsignal.pause()"


async def test_a_child_that_ends_is_started_again_after_longer_and_longer(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children, "FIRST_BACKOFF", 0.05)
    child = world.child("sys.exit(3)")
    child.start()
    await world.started(4)
    await child.stop(1)
    first, second, third, fourth = world.times()[:4]
    assert second - first > 0.1
    assert third - second > 0.2
    assert fourth - third > 0.4
    assert child.restarts >= 3


async def test_a_child_that_is_killed_is_started_again(world: World) -> None:
    child = world.child(WAIT)
    child.start()
    await world.started()
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    await world.started(2)
    await child.stop(1)
    assert child.restarts == 1


async def test_a_child_ends_by_sigterm_within_its_grace(world: World) -> None:
    child = world.child(WAIT)
    child.start()
    await world.started()
    pid = child.pid
    assert pid is not None
    start = time.monotonic()
    await child.stop(20)
    assert time.monotonic() - start < 10
    assert not psutil.pid_exists(pid)
    assert child.pid is None


async def test_a_child_that_does_not_end_is_killed_after_its_grace(
    world: World, tmp_path: Path
) -> None:
    deaf = tmp_path / "deaf"
    child = world.child(DEAF.format(str(deaf)))
    child.start()
    async with asyncio.timeout(30):
        while not deaf.exists():
            await asyncio.sleep(0.01)
    pid = child.pid
    assert pid is not None
    start = time.monotonic()
    await child.stop(0.3)
    assert time.monotonic() - start >= 0.3
    assert not psutil.pid_exists(pid)


FOLLOWED = """
import asyncio
from repertory.actors.phases import Step
from repertory.actors.progress import Progress
async def main():
    leaving, told = asyncio.Event(), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    progress = Progress(int(sys.argv[sys.argv.index("--progress") + 1]))
    progress.follow(leaving.set)
    open({!r}, "w").close()
    await leaving.wait()
    progress.done(Step.READINESS)
    await told.wait()
    progress.done(Step.FINISH)
    await asyncio.sleep(60)
asyncio.run(main())
"""


async def test_a_child_that_is_followed_is_told_of_the_end_and_tells_how_far_it_is(
    world: World, tmp_path: Path
) -> None:
    ready = tmp_path / "ready"
    child = world.child(FOLLOWED.format(str(ready)), followed=True)
    child.start()
    async with asyncio.timeout(30):
        while not ready.exists():
            await asyncio.sleep(0.01)
        child.leave()
        await child.done(Step.READINESS)
        await child.terminate()
        await child.done(Step.FINISH)
        committed = asyncio.create_task(child.done(Step.COMMIT))
        assert not committed.done()
        await child.kill()
        await committed


async def test_a_child_that_dies_while_it_is_followed_has_done_everything(world: World) -> None:
    child = world.child(WAIT, followed=True)
    child.start()
    await world.started()
    assert child.pid is not None
    done = asyncio.create_task(child.done(Step.COMMIT))
    os.kill(child.pid, signal.SIGKILL)
    async with asyncio.timeout(10):
        await done
    await child.stop(5)


async def test_a_child_that_is_killed_at_once_is_not_started_again(world: World) -> None:
    child = world.child(DEAF.format(str(world.folder / "deaf")))
    child.start()
    await world.started()
    pid = child.pid
    assert pid is not None
    await child.kill()
    await child.kill()
    assert not psutil.pid_exists(pid)
    assert len(world.times()) == 1


async def test_a_stopped_child_is_not_started_again_and_may_be_stopped_again(
    world: World,
) -> None:
    child = world.child(WAIT)
    child.start()
    await world.started()
    await child.stop(5)
    await child.stop(5)
    assert len(world.times()) == 1


async def test_a_child_can_be_stopped_while_it_waits_for_its_next_start(world: World) -> None:
    child = world.child("sys.exit(3)")
    child.start()
    await world.started(2)
    await child.stop(5)
    assert child.pid is None


async def test_what_a_child_prints_goes_to_its_log(world: World) -> None:
    child = world.child("sys.exit(3)")
    child.start()
    await world.started(2)
    await child.stop(5)
    assert b"hello from the child" in (world.folder / "child.log").read_bytes()


async def test_a_child_has_a_session_of_its_own(world: World) -> None:
    child = world.child(WAIT)
    child.start()
    await world.started()
    assert child.pid is not None
    assert os.getsid(child.pid) != os.getsid(0)
    await child.stop(5)


async def test_a_child_that_cannot_be_started_is_tried_again(world: World) -> None:
    child = world.child(WAIT)
    log = world.folder / "child.log"
    log.mkdir()  # so that the log cannot be opened
    child.start()
    async with asyncio.timeout(30):
        while child.restarts == 0:
            await asyncio.sleep(0.01)
    log.rmdir()
    await world.started()
    await child.stop(5)
