"""What may happen to a node under load: no record is lost, and clients that try twice notice nothing.

Each test prints a table of what users noticed. `make cluster-faults` runs them at full length.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from tests.cluster.cluster import STOP_SECONDS, Cluster, cluster_of, data_types
from tests.cluster.conftest import do_without
from tests.cluster.load import Load
from tests.cluster.publisher import Publisher

from repertory.actors.local_node import wait_until

NODES = "abc"
LEADER, OTHER, JOINING = "a", "b", "d"
# Times that a machine with few processors may take, of those that are promised.
PATIENCE = 4.0


@pytest.fixture(scope="module")
def cluster(
    tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[Cluster]:
    kinds = data_types(pytestconfig.getoption("--fault-types"))
    folder = tmp_path_factory.mktemp("faults")
    kafka = pytestconfig.getoption("--fault-kafka")
    with cluster_of(NODES + JOINING, folder, kinds=kinds, start=NODES, kafka=kafka) as cluster:
        yield cluster


class Trial:
    """A fault under load, from when all is well until all is well again."""

    def __init__(self, cluster: Cluster, options: pytest.Config) -> None:
        self.cluster = cluster
        self._options = options
        self._stack = ExitStack()
        self._load = Load(
            cluster,
            rate=options.getoption("--fault-rate"),
            http_rate=options.getoption("--fault-requests"),
        )
        self._publisher = Publisher(cluster, every=options.getoption("--fault-publish"))

    def begin(self, what: str) -> None:
        """Make load; what is done from now on is the fault."""
        self._stack.enter_context(self._load)
        self._stack.enter_context(self._publisher)
        wait_until(lambda: self._publisher.versions, "a model is published")
        self._load.mark(what)

    def last(self, seconds: float) -> None:
        """Let it last so long, or as long as this run may take."""
        time.sleep(min(seconds, self._options.getoption("--fault-seconds")))

    def verdict(self) -> list[str]:
        """Wait until all is well, end the load, and return what its users noticed and should not."""
        self.cluster.wait_whole()
        self._publisher.__exit__()
        faults = self._stale()
        strict = self._options.getoption("--strict-times")
        faults += self._load.end().faults(patience=1.0 if strict else PATIENCE)
        self._stack.close()
        return faults

    def _stale(self) -> list[str]:
        """Wait until all serve the newest models; return what is amiss if they do not.

        One that is newer yet may have been published by an attempt that was given up.
        """
        try:
            wait_until(lambda: not self._behind(), "the newest models are served", 30)
            self.cluster.wait_whole(30, same=True)
        except TimeoutError as error:
            return [*self._behind(), str(error)]
        return []

    def _behind(self) -> list[str]:
        found = {name: self.cluster.positions(name) for name in self._publisher.versions}
        return [
            f"{name} is at {found[name]}, though {newest} was published"
            for name, newest in self._publisher.versions.items()
            if min(found[name].values()) < newest
        ]

    def close(self) -> None:
        """End the load, whatever happened."""
        self._stack.close()


@pytest.fixture
def trial(cluster: Cluster, pytestconfig: pytest.Config) -> Iterator[Trial]:
    cluster.set_right(*NODES)
    trial = Trial(cluster, pytestconfig)
    yield trial
    trial.close()


@pytest.fixture
def network(cluster: Cluster) -> None:
    if cluster.hosts.why_no_network:
        do_without(cluster.hosts.why_no_network)


@pytest.mark.parametrize("name", [LEADER, OTHER])
def test_nothing_is_lost_when_a_node_is_killed_and_returns(trial: Trial, name: str) -> None:
    trial.begin(f"kill -9 of node {name}")
    trial.cluster.nodes[name].kill()
    trial.cluster.wait_whole()
    trial.cluster.start(name)
    assert trial.verdict() == []


def test_nothing_is_lost_when_a_node_ends_in_order(trial: Trial) -> None:
    trial.begin("SIGTERM of node b")
    assert trial.cluster.nodes[OTHER].stop(STOP_SECONDS) == 0
    assert trial.verdict() == []


def test_nothing_is_lost_when_a_node_joins(trial: Trial) -> None:
    trial.begin("node d joins")
    trial.cluster.start(JOINING)
    assert trial.verdict() == []


@pytest.mark.parametrize("seconds", [2, 30])
def test_nothing_is_lost_when_a_node_is_frozen(trial: Trial, seconds: float) -> None:
    trial.begin(f"node b frozen ({seconds} s)")
    trial.cluster.hosts[OTHER].freeze()
    trial.last(seconds)
    trial.cluster.hosts[OTHER].thaw()
    assert trial.verdict() == []


@pytest.mark.usefixtures("network")
def test_nothing_is_lost_when_a_node_is_cut_off_and_healed(trial: Trial) -> None:
    trial.begin("node b cut off (20 s)")
    trial.cluster.hosts[OTHER].cut()
    trial.last(20)
    trial.cluster.hosts[OTHER].heal()
    assert trial.verdict() == []


@pytest.mark.usefixtures("network")
def test_nothing_is_lost_when_packets_are(trial: Trial) -> None:
    trial.begin("1 % of node b's packets lost (60 s)")
    trial.cluster.hosts[OTHER].lose(1)
    trial.last(60)
    assert trial.verdict() == []
