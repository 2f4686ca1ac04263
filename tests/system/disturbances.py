"""What happens to the cluster of the delivery tests: kills, a freeze, a node that comes and goes."""

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.apache_kafka.server import ApacheKafka

from repertory.actors.local_node import LocalNode, wait_until
from repertory.errors import RequestFailed
from repertory.streams.source import SESSION_MS
from repertory.streams.transactional_sink import TRANSACTION_MS

FACE = "repertory.streams.face"
BACK_SECONDS = 40.0  # for a process to be there again

Ask = Callable[..., Any]


def pid_of(node: LocalNode, module: str) -> int | None:
    """Return the process that runs a module of a node."""
    for pid in node.processes():
        with contextlib.suppress(OSError):
            if module.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                return pid
    return None


class Disturbances:
    """Two nodes and a broker, to which things happen in an order and at moments drawn from a seed.

    Node `a` is there all the time, `b` comes and goes once a round. What happened is in `log`.
    """

    def __init__(
        self, broker: ApacheKafka, a: LocalNode, b: LocalNode, *, ask: Ask, seed: int
    ) -> None:
        self._broker, self._a, self._b, self._ask = broker, a, b, ask
        self._chance = random.Random(seed)
        self._began = time.monotonic()
        self._b_is_there = False
        self._rounds = 0
        self.log: list[str] = []

    def round(self) -> None:
        """Have everything happen once."""
        self._rounds += 1
        for act in self._order():
            time.sleep(self._chance.uniform(0.3, 2.0))  # the moment is the input
            act()

    def _order(self) -> list[Callable[[], None]]:
        """Return all that happens in any order in which `b` is there when it is needed."""
        while_b = [self.kill_face_of_b, self.freeze_face]
        acts = [self.b_joins, self.b_leaves, *while_b]
        acts += [self.kill_face_of_a, self.kill_router, self.kill_serving_actor, self.kill_broker]
        while True:
            self._chance.shuffle(acts)
            if acts.index(self.b_joins) < min(map(acts.index, while_b)) and acts.index(
                self.b_leaves
            ) > max(map(acts.index, while_b)):
                return acts

    def kill_face_of_a(self) -> None:
        """Its successor has the same name in the group, and the same transactional ids."""
        self._kill("the face of a", self._face(self._a))

    def kill_face_of_b(self) -> None:
        """See `kill_face_of_a`."""
        self._kill("the face of b", self._face(self._b))

    def kill_router(self) -> None:
        """Of any node."""
        name, node = self._any_node()
        self._kill(f"the router of {name}", self._pid(lambda: self._ask(node, "status")["pid"]))

    def kill_serving_actor(self) -> None:
        """Of any node."""
        name, node = self._any_node()
        pid = self._pid(lambda: self._ask(node, "status")["data_types"]["wine"]["pid"])
        self._kill(f"the serving actor of {name}", pid)

    def kill_broker(self) -> None:
        """And start it again."""
        self._tell("kill -9 of the broker")
        self._broker.kill()
        self._broker.start()
        self._tell("the broker is back")

    def b_joins(self) -> None:
        """Wait until it serves."""
        self._tell("b joins")
        self._b.start()
        self._b_is_there = True
        wait_until(lambda: self._serves(self._b), "b serves", BACK_SECONDS)
        self._tell("b serves")

    def b_leaves(self) -> None:
        """In order: SIGTERM."""
        self._tell("b leaves")
        self._b.stop()
        self._b.wait_gone()
        self._b_is_there = False

    def freeze_face(self) -> None:
        """Stop a face for longer than its session, so that it comes back as a zombie.

        In every other round also for longer than the brokers leave its transaction open.
        """
        name, node = self._any_node()
        pid = self._face(node)
        longer_than = SESSION_MS if self._rounds % 2 else TRANSACTION_MS
        seconds = longer_than / 1000 + self._chance.uniform(1.0, 3.0)
        self._tell(f"SIGSTOP of the face of {name} for {seconds:.1f} s")
        os.kill(pid, signal.SIGSTOP)
        time.sleep(seconds)
        self._tell(f"SIGCONT of the face of {name}")
        os.kill(pid, signal.SIGCONT)

    def _any_node(self) -> tuple[str, LocalNode]:
        nodes = {"a": self._a, "b": self._b} if self._b_is_there else {"a": self._a}
        return self._chance.choice(list(nodes.items()))

    def _face(self, node: LocalNode) -> int:
        return self._pid(lambda: pid_of(node, FACE))

    def _pid(self, find: Callable[[], int | None]) -> int:
        found: list[int] = []

        def look() -> bool:
            with contextlib.suppress(RequestFailed, KeyError):
                found.extend(filter(None, [find()]))
            return bool(found)

        wait_until(look, "it runs", BACK_SECONDS)
        return int(found[-1])

    def _serves(self, node: LocalNode) -> bool:
        with contextlib.suppress(RequestFailed):
            return bool(self._ask(node, "status", timeout=5)["ready"])
        return False

    def _kill(self, what: str, pid: int) -> None:
        self._tell(f"kill -9 of {what}")
        with contextlib.suppress(ProcessLookupError):  # it was just being replaced
            os.kill(pid, signal.SIGKILL)

    def _tell(self, what: str) -> None:
        line = f"{time.monotonic() - self._began:7.1f} s  {what}"
        self.log.append(line)
        print(line, flush=True)
