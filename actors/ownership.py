"""Taking over data types, and giving them up. Pure.

A node that gains a data type brings its actors up from their snapshots, and has the keeper tell
them what the journal knows better. One that loses a data type serves it until another one does.
"""

from collections.abc import Callable
from typing import Any

import orjson
import structlog

from repertory.actors.cluster import Cluster
from repertory.actors.desk import Desk
from repertory.actors.frames import Frame
from repertory.actors.heart import Heart
from repertory.actors.instructions import End
from repertory.actors.messages import Shard
from repertory.actors.shards import Shards
from repertory.actors.stager import NOBODY, Stager
from repertory.actors.target import Job, Target
from repertory.protos.door_pb2 import Envelope, Failure

# An actor that nobody needs any more has so long to finish what it has in hand.
GRACE_SECONDS = 3.0
# An owner that is behind the others for so long asks the keeper why; then ever less often.
BEHIND_SECONDS, LONGEST_SECONDS = 3.0, 60.0
KEEPER_SECONDS = 60.0
# An actor that has no model, of a data type that was given up, may yet get one for so long.
IDLE_SECONDS = 30.0

log = structlog.get_logger(__name__)


class Ownership:
    """Keeps the actors here those of the data types that this node owns."""

    def __init__(
        self,
        cluster: Cluster,
        shards: Shards,
        desk: Desk,
        *,
        stager: Stager,
        heart: Heart,
        keeper: Target,
    ) -> None:
        self._cluster = cluster
        self._shards = shards
        self._desk = desk
        self._stager = stager
        self._heart = heart
        self._keeper = keeper
        self._given_up: dict[str, float] = {}  # since when
        self._behind: dict[str, tuple[float, float]] = {}  # when to ask, and how long after that

    def begin(self) -> None:
        """Bring up the actors of what this node owns, before anybody was heard."""
        self._own(self._cluster.owned())

    def changed(self) -> None:
        """Take over what is owned now, and begin to give up the rest."""
        owned, before = self._cluster.owned(), self._shards.owned
        if owned == before:
            return
        gained, lost = sorted(owned - before), sorted(before - owned)
        log.info("the data types of this node", gained=gained, given_up=lost)
        self._given_up |= dict.fromkeys(lost, self._desk.clock())
        for data_type in lost:  # nobody asks any more why it is not served here
            self._behind.pop(data_type, None)
            self._heart.out.pop(data_type, None)
        self._own(owned)
        if gained:
            self._shards.unsettled.update(gained)
            self._ask_keeper("restage", {"data_types": gained}, self._settled(gained))

    def note_unneeded(self) -> None:
        """Note which actors nobody asks for any more."""
        unneeded = {actor.shard for actor in self._shards.unneeded(self._let_go())}
        for shard, actor in self._shards.actors.items():
            if shard not in unneeded:
                actor.unneeded_since = None
            elif actor.unneeded_since is None:
                actor.unneeded_since = self._desk.clock()

    def taken_over(self) -> set[str]:
        """Return the data types here that all their owners serve, no older than this node."""
        found = set()
        for data_type in self._shards.here():
            own = self._shards.standing(data_type)
            if self._cluster.taken_over(data_type, own.position if own is not None else 0):
                found.add(data_type)
        return found

    def _let_go(self) -> set[str]:
        """Return the data types that were given up, and need no actors here any more.

        One that nobody serves is kept: its owner may take longer than the actor that comes up here.
        """
        taken_over, before = self.taken_over(), self._desk.clock() - IDLE_SECONDS
        return {
            name
            for name in self._shards.given_up()
            if name in taken_over
            or (not self._shards.serves(name) and self._given_up.get(name, 0.0) < before)
        }

    def tick(self) -> None:
        """End what nobody needs; ask why this node is behind others."""
        if self._shards.given_up():
            self.note_unneeded()
        self._end_unneeded()
        if not self._cluster.alone:
            for data_type in self._shards.owned:
                self._catch_up(data_type)

    def _own(self, owned: frozenset[str]) -> None:
        """Bring up what is not here yet; what fewest others serve comes first."""
        self._shards.owned = owned
        for data_type in sorted(owned, key=lambda each: (len(self._cluster.able(each, 0)), each)):
            if self._shards.front(data_type) is None:
                self._stager.bring_up(Shard(data_type))
        self.note_unneeded()

    def _end_unneeded(self) -> None:
        now = self._desk.clock()
        for shard, actor in list(self._shards.actors.items()):
            since = actor.unneeded_since
            if since is None or now - since < GRACE_SECONDS or actor.target.flying:
                continue
            del self._shards.actors[shard]
            self._desk.outbox.append(End(shard))
            if not self._shards.has(shard.data_type):
                self._shards.forget(shard.data_type)

    def _catch_up(self, data_type: str) -> None:
        others = [each.position for each in self._cluster.serving(data_type).values()]
        own = self._shards.standing(data_type)
        if not others or (own is not None and own.is_at(max(others))):
            self._behind.pop(data_type, None)
            self._heart.out.pop(data_type, None)
            return
        now = self._desk.clock()
        due, patience = self._behind.setdefault(data_type, (now + BEHIND_SECONDS, BEHIND_SECONDS))
        if now >= due:
            self._behind[data_type] = now + patience, min(patience * 2, LONGEST_SECONDS)
            about = {"data_type": data_type, "position": max(others)}
            self._ask_keeper("catch_up", about, self._noted(data_type))

    def _settled(self, gained: list[str]) -> Callable[[Envelope.Kind, bytes], None]:
        return lambda kind, payload: self._shards.unsettled.difference_update(gained)

    def _noted(self, data_type: str) -> Callable[[Envelope.Kind, bytes], None]:
        def take(kind: Envelope.Kind, payload: bytes) -> None:
            if kind == Envelope.ANSWER:
                why = str(orjson.loads(payload).get("reason") or "it is being loaded")
            else:
                why = Failure.FromString(payload).message
            if data_type in self._behind and self._heart.out.get(data_type) != why:
                self._heart.out[data_type] = why
                log.warning("this node does not serve what others do", data_type=data_type, why=why)

        return take

    def _ask_keeper(
        self,
        subject: str,
        data: dict[str, Any],
        taker: Callable[[Envelope.Kind, bytes], None],
    ) -> None:
        envelope = Envelope(kind=Envelope.ASK, subject=subject)
        frame = Frame(envelope, orjson.dumps(data))
        self._keeper.add(Job(NOBODY, frame, self._desk.clock() + KEEPER_SECONDS, taker=taker))
        self._desk.dispatch(self._keeper)
