"""What all tests share: nodes in processes of their own, free ports, and nothing left behind."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import yaml

from repertory.actors.local_node import LocalNode

ROOT = Path(__file__).parent.parent
LOG_SHOWN = 8_000  # bytes of each log of a node whose test failed
pytest_plugins = ["tests.apache_kafka.fixtures"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let long runs be asked for by hand: `make soak`, `make cluster-faults`."""
    parser.addoption("--kills", type=int, default=2, help="kills of each process, under load")
    parser.addoption("--swaps", type=int, default=40, help="model swaps under load")
    parser.addoption("--records", type=int, default=25_000, help="records of the delivery tests")
    parser.addoption("--rounds", type=int, default=1, help="rounds of everything that happens")
    parser.addoption("--api-seconds", type=int, default=18, help="of each run of schemathesis")
    _add_cluster_options(parser.getgroup("tests with several hosts"))


def _add_cluster_options(group: pytest.OptionGroup) -> None:
    add = group.addoption
    add("--fault-seconds", type=float, default=5, help="longest time that a fault lasts")
    add("--fault-rate", type=int, default=1500, help="records a second meanwhile")
    add("--fault-requests", type=int, default=60, help="HTTP requests a second meanwhile")
    # Each node checks each model, on the processors that all nodes and the load share here.
    add("--fault-publish", type=float, default=3, help="seconds from one new model to the next")
    add("--fault-types", type=int, default=4, help="data types with two replicas")
    add("--strict-times", action="store_true", help="serving resumes as fast as it is promised to")
    add("--fault-kafka", choices=["embedded", "apache"], default="embedded", help="the broker")


@pytest.fixture(scope="session", autouse=True)
def temporary_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Remove at the end what killed processes left; a short path, as sockets go in it."""
    tmp_path_factory.getbasetemp()  # pytest's own stays where it is
    with (
        pytest.MonkeyPatch.context() as patch,
        TemporaryDirectory(prefix="rt-", ignore_cleanup_errors=True) as folder,
    ):
        patch.setenv("TMPDIR", folder)
        patch.setattr("tempfile.tempdir", folder)
        yield


@pytest.fixture(scope="session")
def wine_models() -> Path:
    """The example's models, in every format."""
    return ROOT / "examples" / "wine" / "models"


@pytest.fixture(scope="session")
def wine_data() -> Path:
    """The example's records, with a header."""
    return ROOT / "examples" / "wine" / "data" / "winequality-red.csv"


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def write_config(tmp_path: Path) -> Callable[..., Path]:
    """Write a cluster.yaml: that of the example, with a free port, and what the test changes."""

    def write(**changes: object) -> Path:
        document = yaml.safe_load((ROOT / "cluster.yaml").read_text())
        document["data_dir"] = str(tmp_path / "data")
        document["http"] = {"port": free_port()}
        for key, value in changes.items():
            if isinstance(value, dict):
                document.setdefault(key, {}).update(value)
            else:
                document[key] = value
        path = tmp_path / "cluster.yaml"
        path.write_text(yaml.safe_dump(document))
        return path

    return write


@pytest.fixture
def local_node(
    tmp_path: Path, write_config: Callable[..., Path]
) -> Iterator[Callable[..., LocalNode]]:
    """Start nodes; at the end each is stopped, and must leave no process behind."""
    nodes: list[LocalNode] = []

    def start(*arguments: str, config: Path | None = None) -> LocalNode:
        path = config or write_config()
        node = LocalNode(path, *arguments, log=tmp_path / f"node-{len(nodes)}.log")
        nodes.append(node)
        node.start()
        return node

    yield start
    for node in nodes:
        node.stop()
    for node in nodes:
        node.wait_gone()
        logs = sorted(node.paths.logs.glob("*.log")) if node.paths.logs.exists() else []
        print(node.log_tail(LOG_SHOWN))  # pytest shows it when the test failed
        for log in logs:
            print(log.name, log.read_text(errors="replace")[-LOG_SHOWN:], sep=":\n")
