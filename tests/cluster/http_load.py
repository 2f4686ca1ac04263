"""HTTP scoring on every node all the time, by clients that try once more, on another node.

A process of its own: see load_process.py. Requests are sent when they are due, whether or not
those before were answered, as by many clients who know nothing of each other.
"""

import asyncio
import itertools
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson
from tests.cluster.load_process import run, say_running
from tests.cluster.timeline import Timeline

from repertory.protos.winerecord_pb2 import WineRecord

# One wine; over HTTP no feature may be missing.
RECORDS = [{field.name: 1.0 for field in WineRecord.DESCRIPTOR.fields[:11]}]
BEGIN_SECONDS = 60.0


class Refused(Exception):
    """A node answered, though not with scores."""


@dataclass
class Tally:
    """What became of the requests of one data type."""

    requests: int = 0
    again: int = 0  # that were sent once more
    failed: list[tuple[float, str]] = field(default_factory=list)  # when sent, and why; both times
    backwards: int = 0  # answers of a lower version than the same node had given before
    times: Timeline = field(default_factory=Timeline)
    seconds: list[float] = field(default_factory=list)  # from the first attempt to the answer

    def report(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        seconds = sorted(self.seconds) or [0.0]
        return {
            "requests": self.requests,
            "again": self.again,
            "failed": self.failed,
            "backwards": self.backwards,
            "pauses": self.times.pauses,
            "median": seconds[len(seconds) // 2],
            "slowest": seconds[-1],
        }


class HttpLoad:
    """Clients of all nodes and all data types."""

    def __init__(self, settings: dict[str, Any], session: aiohttp.ClientSession) -> None:
        self._urls: list[str] = settings["urls"]
        self._headers: dict[str, str] = settings["headers"]
        self._every: float = settings["every"]
        self._patience: dict[str, float] = settings["patience"]
        self._session = session
        self._seen: Counter[tuple[str, str]] = Counter()  # highest version by URL and data type
        self._body = orjson.dumps(RECORDS)
        self.tallies = {name: Tally() for name in self._patience}
        self.reasons: Counter[str] = Counter()  # of first attempts that failed

    async def client(
        self, first: int, data_type: str, stop: asyncio.Event, *, after: float
    ) -> None:
        """Send requests of one data type to one node, until `stop`; all are answered at the end."""
        due = time.monotonic() + after
        async with asyncio.TaskGroup() as requests:
            while not stop.is_set():
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                due += self._every
                requests.create_task(self._request(first, data_type))

    async def _request(self, first: int, data_type: str) -> None:
        tally, began, reason = self.tallies[data_type], time.time(), ""
        tally.requests += 1
        for attempt in range(2):
            url = self._urls[(first + attempt) % len(self._urls)]
            try:
                await self._attempt(url, data_type)
            except (aiohttp.ClientError, OSError, TimeoutError, Refused) as error:
                reason = f"{reason}; {url}: {type(error).__name__} {error}"
                if not attempt:
                    tally.again += 1
                    self.reasons[f"{type(error).__name__} {error}"[:120]] += 1
            else:
                now = time.time()
                tally.times.note(now)
                tally.seconds.append(now - began)
                return
        tally.failed.append((began, reason.removeprefix("; ")))

    async def _attempt(self, url: str, data_type: str) -> None:
        before = self._seen[url, data_type]
        async with self._session.post(
            f"{url}/score/{data_type}",
            data=self._body,
            headers={"Content-Type": "application/json", **self._headers},
            timeout=aiohttp.ClientTimeout(total=self._patience[data_type]),
        ) as reply:
            answer = await reply.read()
        if reply.status != 200:
            raise Refused(f"{reply.status} {answer[:200].decode(errors='replace')}")
        document = orjson.loads(answer)
        if fault := next((each for each in document["results"] if "error" in each), None):
            raise Refused(str(fault))
        version = document["model"]["version"]
        self.tallies[data_type].backwards += version < before
        self._seen[url, data_type] = max(version, self._seen[url, data_type])

    async def wait_answers(self) -> None:
        """Wait until a request of each data type was answered. Raises TimeoutError, and says why."""
        deadline = time.monotonic() + BEGIN_SECONDS
        while not all(tally.seconds for tally in self.tallies.values()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"requests are not answered: {self.reasons.most_common(3)}")
            await asyncio.sleep(0.05)


async def body(settings: dict[str, Any], stop: asyncio.Event) -> dict[str, Any]:
    """Make load until `stop`."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        load = HttpLoad(settings, session)
        clients = [*itertools.product(range(len(settings["urls"])), settings["patience"])]
        async with asyncio.TaskGroup() as tasks:
            for number, (first, data_type) in enumerate(clients):
                after = number / len(clients) * settings["every"]  # not all at the same moment
                tasks.create_task(load.client(first, data_type, stop, after=after))
            await load.wait_answers()
            say_running()
    tallies = {name: tally.report() for name, tally in load.tallies.items()}
    return {"data_types": tallies, "reasons": load.reasons.most_common(8)}


if __name__ == "__main__":
    run(body)
