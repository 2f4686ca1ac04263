"""The lanes of a face: one for each data type with topics of its own, and one for mixed topics."""

from collections.abc import Iterable, Iterator, Mapping

from repertory.actors.client import RouterClient
from repertory.config import ClusterConfig, DataType
from repertory.errors import FailureCode
from repertory.protos.loading import load_message
from repertory.streams.batcher import Batcher
from repertory.streams.claims import Claim, Place
from repertory.streams.lane import Lane
from repertory.streams.routing import DedicatedTopics, MixedTopics
from repertory.streams.scorer import Scorer
from repertory.streams.sinks import Sinks
from repertory.streams.stalls import Stalls, explain
from repertory.streams.telemetry import StreamTelemetry

MIXED = "mixed"  # the stream of the topics whose records say their data type themselves
MIXED_BATCH, MIXED_DELAY_SECONDS, MIXED_IN_FLIGHT = 1024, 0.005, 4


class Lanes:
    """All lanes. `of_topic` has the lane of each topic."""

    def __init__(
        self, config: ClusterConfig, client: RouterClient, sinks: Sinks, telemetry: StreamTelemetry
    ) -> None:
        self._config = config
        self._sinks = sinks
        self._stalls = Stalls()
        self._scorers = {
            name: Scorer(
                client,
                name,
                value_format=data_type.value_format,
                deadline=config.kafka.deadline_ms / 1000,
                telemetry=telemetry,
                explain=data_type.explain,
            )
            for name, data_type in config.data_types.items()
        }
        self.of_topic: dict[str, Lane] = {}
        for name, data_type in config.data_types.items():
            if data_type.topics:
                self.of_topic |= dict.fromkeys(data_type.topics, self._dedicated(name, data_type))
        if config.kafka.mixed_topics:
            self.of_topic |= dict.fromkeys(config.kafka.mixed_topics, self._mixed())

    def __iter__(self) -> Iterator[Lane]:
        return iter(dict.fromkeys(self.of_topic.values()))

    def _dedicated(self, name: str, data_type: DataType) -> Lane:
        return Lane(
            name,
            Batcher(data_type.max_batch, data_type.max_delay_ms / 1000),
            DedicatedTopics(name, self._scorers[name]),
            self._sinks.of(data_type.delivery or self._config.kafka.delivery),
            in_flight=min(data_type.batches_in_flight, data_type.credit),
        )

    def _mixed(self) -> Lane:
        data_types = self._config.data_types.items()
        messages = {name: load_message(data_type.message) for name, data_type in data_types}
        return Lane(
            MIXED,
            Batcher(MIXED_BATCH, MIXED_DELAY_SECONDS),
            MixedTopics(self._scorers, messages),
            self._sinks.of(self._config.kafka.delivery),
            in_flight=MIXED_IN_FLIGHT,
        )

    def waiting_for(self) -> dict[str, FailureCode]:
        """Return the data types whose records wait for something, and for what."""
        return {
            name: scorer.waiting_for
            for name, scorer in self._scorers.items()
            if scorer.waiting_for is not None
        }

    def stall(self, lane: Lane, claims: Iterable[Claim], lag: Mapping[Place, int]) -> str | None:
        """Return what is to be said of a lane that stands still; None when it does not.

        `claims` are those of its topics.
        """
        claims = list(claims)
        unread = [claim.place for claim in claims if lag.get(claim.place)]
        waiting = bool(unread) or not all(claim.settled for claim in claims)
        done = [(claim.place, claim.position) for claim in claims]
        since = self._stalls.since(lane.stream, done=done, waiting=waiting)
        if since is None:
            return None
        data_types = self._config.data_types
        names = data_types if lane.stream == MIXED else (lane.stream,)
        waits = {name: code for name, code in self.waiting_for().items() if name in names}
        if waits and all(
            code == FailureCode.NO_MODEL and not data_types[name].required
            for name, code in waits.items()
        ):
            return None  # it is declared that this may be so
        why = explain(
            waits, unanswered=lane.unanswered, outstanding=lane.outstanding, unread=unread
        )
        return f"no record of {lane.stream!r} has been done since {since:%H:%M:%S} UTC: {why}"


def record_topics(config: ClusterConfig) -> list[str]:
    """Return the topics that records are read from."""
    dedicated = [topic for data_type in config.data_types.values() for topic in data_type.topics]
    return [*dedicated, *config.kafka.mixed_topics]
