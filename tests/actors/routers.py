"""Several routers' cores without sockets or actors: a network, actors and a clock in a test's hand."""

import itertools
from collections import deque
from collections.abc import Iterator
from typing import Any

import orjson

from repertory.actors.frames import Frame
from repertory.actors.handshake import PEER_PROTOCOL
from repertory.actors.instructions import BringUp, Drop, End, Send
from repertory.actors.messages import Shard
from repertory.actors.router_core import RouterCore
from repertory.actors.statistics import Statistics
from repertory.config import ClusterConfig, DataType, Node
from repertory.protos.door_pb2 import Envelope, Failure, Hello

FACE, KEEPER = 1, 2
STEP = 0.05  # seconds between two ticks


def cluster_config(nodes: str, types: dict[str, int]) -> ClusterConfig:
    """Return a configuration of nodes, and of data types with so many replicas."""
    return ClusterConfig.model_validate(
        {
            "nodes": {name: Node(host=f"10.0.0.{i}") for i, name in enumerate(nodes, 1)},
            "journal": {"kind": "kafka"},
            "kafka": {"bootstrap_servers": "k:1"},
            "cluster": {"secret": "s" * 16},
            "data_types": {
                name: DataType(message="m:M", features=("a",), replicas=replicas, credit=200)
                for name, replicas in types.items()
            },
        }
    )


class SimulatedNode:
    """A router's core with a face, a keeper, and actors that answer with their model's position."""

    def __init__(self, network: "Network", name: str) -> None:
        self.name = name
        self._network = network
        self.incarnation = f"{name}-{next(network.incarnations)}"
        self.core = RouterCore(network.config, name, self.incarnation, clock=lambda: network.now)
        self.core.connected(FACE)
        self.core.connected(KEEPER)
        hello = Hello(role="keeper", name="keeper").SerializeToString()
        self.core.arrived(KEEPER, Frame(Envelope(kind=Envelope.HELLO), hello))
        self.actors: dict[int, Shard] = {}  # by peer
        self.positions: dict[str, int] = {}  # what its actors have on stage; 0 and none: no model
        self.replies: dict[int, tuple[int, int, bytes]] = {}  # number: kind, position, payload
        self.answers = 0
        self.keeper_answers = True
        self._asked = list[int]()
        self.scored: list[bytes] = []  # the records that its actors have scored, in order
        self._next = 100
        self.links: dict[int, str] = {}  # our peer: node
        self.callers: dict[str, int] = {}  # node: peer

    def let_keeper_answer(self) -> None:
        """Have the keeper answer what it was asked."""
        asked, self._asked = self._asked, []
        for number in asked:
            self._answer(KEEPER, number, {"of": self.name})

    def new_peer(self) -> int:
        self._next += 1
        return self._next

    def carry_out(self) -> bool:
        """Do what the core decided; return whether there was anything."""
        outbox, self.core.outbox = self.core.outbox, []
        for item in outbox:
            match item:
                case Send(peer, envelope, payload):
                    self._deliver(peer, Frame(envelope, payload))
                case BringUp(shard):
                    self._bring_up(shard)
                case End(shard):
                    self._end(shard)
                case Drop(node):
                    self._network.unlink(self.name, node)
        return bool(outbox)

    def stage(self, data_type: str, position: int) -> None:
        """Have a model on stage, if there is an actor; remember it for later ones."""
        self.positions[data_type] = position
        self._note("staged", data_type)
        for peer, shard in self.actors.items():
            if shard.data_type == data_type:
                self._tell_status(peer, shard)

    def kill_actor(self, data_type: str) -> None:
        for peer, shard in list(self.actors.items()):
            if shard.data_type == data_type:
                del self.actors[peer]
                self.core.closed(peer)
                self._bring_up(shard)

    def serves(self) -> set[str]:
        return {shard.data_type for shard in self.actors.values()}

    def _bring_up(self, shard: Shard) -> None:
        peer = self.new_peer()
        self.actors[peer] = shard
        self._note("begun", shard.data_type)
        self.core.shard_up(shard, peer)
        self._tell_status(peer, shard)

    def _end(self, shard: Shard) -> None:
        self._note("ended", shard.data_type)
        for peer in [peer for peer, each in self.actors.items() if each == shard]:
            del self.actors[peer]
            self.core.closed(peer)

    def _tell_status(self, peer: int, shard: Shard) -> None:
        position = self.positions.get(shard.data_type, 0)
        model = {"dataType": shard.data_type, "version": position} if position else None
        payload = orjson.dumps({"model": model, "position": position})
        self.core.arrived(peer, Frame(Envelope(kind=Envelope.TELL, subject="status"), payload))

    def _deliver(self, peer: int, frame: Frame) -> None:
        kind, number = frame.envelope.kind, frame.envelope.correlation_id
        if peer in self.links:
            self._network.send(self.name, self.links[peer], frame, back=False)
        elif peer in self.callers.values():
            to = next(node for node, each in self.callers.items() if each == peer)
            self._network.send(self.name, to, frame, back=True)
        elif peer in self.actors and kind == Envelope.SCORE:
            self._score(peer, number, frame.payload)
        elif peer in self.actors and kind == Envelope.ASK:
            self._answer(peer, number, self._state(self.actors[peer].data_type))
        elif peer == KEEPER and kind == Envelope.ASK:
            self._asked.append(number)
            if self.keeper_answers:
                self.let_keeper_answer()
        elif peer == FACE and kind != Envelope.WELCOME:
            assert number not in self.replies, "a second reply to one batch"
            self.replies[number] = (kind, frame.envelope.position, frame.payload)

    def _state(self, data_type: str) -> dict[str, Any]:
        statistics = Statistics()
        statistics.count(1, 0, 5.0)
        version = self.positions.get(data_type, 0)
        model = {"dataType": data_type, "name": "m", "version": version, "position": version}
        about = {"since": 1000, "node": self.name, "sketches": {"times": statistics.sketch()}}
        return {**model, **about, **statistics.as_json()}

    def _score(self, peer: int, number: int, records: bytes) -> None:
        position = self.positions.get(self.actors[peer].data_type, 0)
        if position:
            self.answers += 1
            self.scored.append(records)
            self._note("scored", self.actors[peer].data_type)
            envelope = Envelope(kind=Envelope.SCORED, correlation_id=number, position=position)
            self.core.arrived(peer, Frame(envelope, b"%s %s" % (self.name.encode(), records)))
        else:
            failure = Failure(code="no_model", message="no model").SerializeToString()
            envelope = Envelope(kind=Envelope.FAILURE, correlation_id=number)
            self.core.arrived(peer, Frame(envelope, failure))

    def _note(self, what: str, data_type: str) -> None:
        self._network.trace.append((what, data_type, self.name))

    def _answer(self, peer: int, number: int, data: dict[str, Any]) -> None:
        envelope = Envelope(kind=Envelope.ANSWER, correlation_id=number)
        self.core.arrived(peer, Frame(envelope, orjson.dumps(data)))


class Network:
    """Nodes by name, the frames between them, who cannot hear whom, and the time.

    Nodes in `older` speak the protocol's previous version.
    """

    def __init__(
        self, nodes: str, types: dict[str, int], *, up: str | None = None, older: str = ""
    ) -> None:
        self.now = 100.0
        self.incarnations = itertools.count(1)
        self.trace: list[tuple[str, str, str]] = []  # what happened, to which data type, where
        self._older = set(older)
        self.config = cluster_config(nodes, types)
        self.nodes: dict[str, SimulatedNode] = {}
        self.frozen: set[str] = set()
        self.questions = itertools.count(1_000_000)
        self.cut: set[str] = set()
        self._frames: deque[tuple[str, str, Frame, bool]] = deque()
        for name in nodes if up is None else up:
            self.nodes[name] = SimulatedNode(self, name)

    def pass_time(self, seconds: float = 0.0) -> None:
        """Let frames arrive and clocks tick, for so long."""
        end = self.now + seconds
        while True:
            self._link_all()
            for node in self._running():
                node.core.tick()
            self._settle()
            if self.now >= end:
                return
            self.now += STEP

    def kill(self, name: str) -> None:
        """Have a node be gone, at once."""
        del self.nodes[name]
        self._frames = deque(each for each in self._frames if name not in each[:2])
        for node in self.nodes.values():
            self.unlink(node.name, name)
            self._hang_up(node, name)

    def start(self, name: str) -> None:
        """Have a node join."""
        self.nodes[name] = SimulatedNode(self, name)

    def unlink(self, node: str, other: str) -> None:
        """Close the link from a node to another."""
        here = self.nodes[node]
        for peer in [peer for peer, each in here.links.items() if each == other]:
            del here.links[peer]
            here.core.link_down(other)
            if other in self.nodes:
                self._hang_up(self.nodes[other], node)

    def send(self, sender: str, to: str, frame: Frame, *, back: bool) -> None:
        copy = Envelope.FromString(frame.envelope.SerializeToString())
        if self._protocol(sender, to) == 1:  # which does not know it
            copy.ClearField("position")
        self._frames.append((sender, to, Frame(copy, frame.payload), back))

    def score(self, node: str, number: int, data_type: str = "wine", *, ms: int = 0) -> None:
        """Have a face of a node ask for a batch to be scored: its records are its number."""
        envelope = Envelope(
            kind=Envelope.SCORE, correlation_id=number, data_type=data_type, budget_ms=ms
        )
        self.nodes[node].core.arrived(FACE, Frame(envelope, b"%d" % number))
        self._settle()

    def ask(self, node: str, number: int, subject: str, /, **data: Any) -> None:
        """Have a face of a node ask a question."""
        envelope = Envelope(
            kind=Envelope.ASK,
            correlation_id=number,
            subject=subject,
            data_type=data.get("data_type", ""),
        )
        self.nodes[node].core.arrived(FACE, Frame(envelope, orjson.dumps(data)))
        self._settle()

    def answer(self, node: str, number: int) -> dict[str, Any]:
        """Return the answer to a question."""
        kind, _, payload = self.nodes[node].replies[number]
        assert kind == Envelope.ANSWER, payload
        found: dict[str, Any] = orjson.loads(payload)
        return found

    def _protocol(self, *nodes: str) -> int:
        return PEER_PROTOCOL - 1 if self._older & set(nodes) else PEER_PROTOCOL

    def on_the_way(self, to: str) -> list[Frame]:
        """Return the frames that a node is sent, and did not take yet."""
        return [frame for _, receiver, frame, _ in self._frames if receiver == to]

    def link(self, node: str, other: str) -> int:
        """Return the peer that is the link from a node to another."""
        return next(peer for peer, each in self.nodes[node].links.items() if each == other)

    def _running(self) -> Iterator[SimulatedNode]:
        yield from [node for name, node in self.nodes.items() if name not in self.frozen]

    def _settle(self) -> None:
        busy = True
        while busy:
            busy = sum(node.carry_out() for node in self._running()) > 0 or self._carry_frames()

    def _carry_frames(self) -> bool:
        """Deliver what can be; what a frozen node is sent waits, what is cut off does too."""
        carried, waiting = False, deque[tuple[str, str, Frame, bool]]()
        while self._frames:
            sender, to, frame, back = item = self._frames.popleft()
            if to in self.frozen or {sender, to} & self.cut:
                waiting.append(item)
                continue
            carried |= self._arrive(sender, to, frame, back=back)
        self._frames = waiting
        return carried

    def _arrive(self, sender: str, to: str, frame: Frame, *, back: bool) -> bool:
        node = self.nodes.get(to)
        if node is None:
            return False
        if back:
            peer = next((peer for peer, each in node.links.items() if each == sender), None)
        else:
            peer = node.callers.get(sender)
        if peer is None:
            return False  # that connection is gone
        node.core.arrived(peer, frame)
        return True

    def _link_all(self) -> None:
        running = [node for node in self._running() if node.name not in self.cut]
        for node in running:
            for other in running:
                if other is not node and other.name not in node.links.values():
                    self._link(node, other)

    def _link(self, node: SimulatedNode, other: SimulatedNode) -> None:
        # What was said over a connection before this one is lost with it.
        self._frames = deque(
            each
            for each in self._frames
            if (each[0], each[1], each[3])
            not in {(node.name, other.name, False), (other.name, node.name, True)}
        )
        caller, peer = other.new_peer(), node.new_peer()
        other.callers[node.name] = caller
        other.core.connected(caller, node.name)
        node.links[peer] = other.name
        node.core.link_up(other.name, peer, self._protocol(node.name, other.name))

    def _hang_up(self, node: SimulatedNode, caller: str) -> None:
        if (peer := node.callers.pop(caller, None)) is not None:
            node.core.closed(peer)
