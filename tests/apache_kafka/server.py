"""Apache Kafka itself, one node that is broker and controller, as a child process.

For the tests and the benchmarks: `from tests.apache_kafka.server import ApacheKafka`.
"""

import contextlib
import random
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic
from tests.apache_kafka.jars import fetch_jars, java
from tests.apache_kafka.properties import server_properties

from repertory.actors.lifeline import die_with_parent
from repertory.streams.devbroker.process import BrokerNotReady

FAST_START = ("-XX:TieredStopAtLevel=1",)
"""Starts in 2 s, where the compiler of long runs would cost a second more of both cores."""

_JVM = (
    *("-Xms64m", "-XX:+UseSerialGC", "-Xshare:auto", "-XX:-UsePerfData"),
    *("-Djava.awt.headless=true", "-Dorg.slf4j.simpleLogger.showDateTime=true"),
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
)
_PATIENCE = 20.0  # seconds that a clean end may take
_PORTS = range(20_000, 32_000)  # below those that clients get: nobody takes ours while we restart
_TRIES = 5


class ApacheKafka:
    """One Apache Kafka, which never outlives the thread that started it.

    The same interface as BrokerProcess: what was acknowledged is there again after `kill` and
    `start`, or `restart`, on the same port. Without a `data_dir` the data is in a temporary
    folder, which `stop` removes. It listens on `host` only. All methods block; not for use by
    several threads. Starting takes 3 s, 2 s again with data, and 5 s after `kill`, until the
    controller takes the former broker for dead.

    `settings` are added to server.properties. `jvm_options` come after our own, so that theirs
    win; for long runs pass `()`, which takes the better compiler.
    """

    def __init__(
        self,
        *,
        data_dir: Path | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        settings: Mapping[str, str] | None = None,
        heap_mb: int = 512,
        jvm_options: Sequence[str] = FAST_START,
        ready_seconds: float = 60.0,
    ) -> None:
        self.host = host
        self.port = port
        self._fixed = port != 0
        self._data_dir = data_dir
        self._settings = dict(settings or {})
        self._jvm = [*_JVM, f"-Xmx{heap_mb}m", *jvm_options]
        self._ready_seconds = ready_seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._temporary: tempfile.TemporaryDirectory[str] | None = None

    @property
    def bootstrap_servers(self) -> str:
        """`host:port`; known once started, and the same after a restart."""
        return f"{self.host}:{self.port}"

    @property
    def pid(self) -> int | None:
        """The child's process id; None if it is not running."""
        return self._process.pid if self._process else None

    @property
    def data_dir(self) -> Path:
        """The folder of data, configuration and log; made when it is asked for."""
        if self._data_dir is not None:
            self._data_dir.mkdir(parents=True, exist_ok=True)
            return self._data_dir
        if self._temporary is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="apache-kafka-")
        return Path(self._temporary.name)

    @property
    def log(self) -> Path:
        """What the server says, over all its restarts."""
        return self.data_dir / "server.log"

    def start(self) -> Self:
        """Start, and wait until topics can be created.

        Fetches the jars first, if need be. Raises BrokerNotReady with the end of the log, and
        ApacheKafkaMissing when there is no Java or no Maven.
        """
        if self._process is not None:
            raise BrokerNotReady("the broker runs already")
        for attempt in range(_TRIES):
            begin = self.log.stat().st_size if self.log.exists() else 0
            try:
                self._launch()
                self._wait_ready()
                break
            except BaseException as error:
                self.kill()
                taken = b"Address already in use" in self._said(begin)
                if not (isinstance(error, BrokerNotReady) and taken and not self._fixed):
                    self.stop()
                    raise
                if attempt == _TRIES - 1:
                    raise
        self._fixed = True  # clients know it now
        return self

    def _launch(self) -> None:
        if not self._fixed:
            self.port = _free_port()
        properties = self.data_dir / "server.properties"
        settings = (
            server_properties(self.host, self.port, _free_port(), self.data_dir) | self._settings
        )
        properties.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        if not (Path(settings["log.dirs"]) / "meta.properties").exists():
            self._format(properties)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._java(), "kafka.Kafka", str(properties)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.data_dir,
                start_new_session=True,  # Ctrl-C is for the parent, who stops this one in its time
                preexec_fn=die_with_parent,  # noqa: PLW1509 - one system call, no lock taken
            )

    def _java(self) -> list[str]:
        scratch = self.data_dir / "tmp"  # where codecs unpack their libraries
        scratch.mkdir(exist_ok=True)
        jars = fetch_jars()
        return [java(), *self._jvm, f"-Djava.io.tmpdir={scratch}", "-cp", f"{jars}/*"]

    def _format(self, properties: Path) -> None:
        command = [*self._java(), "kafka.tools.StorageTool", "format", "--ignore-formatted"]
        done = subprocess.run(
            [*command, "--cluster-id", _CLUSTER_ID, "--config", str(properties)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise BrokerNotReady(f"Apache Kafka's storage cannot be formatted: {done.stdout}")

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + self._ready_seconds
        client: AdminClient | None = None
        while True:
            if client is None and self._accepts():
                client = AdminClient({"bootstrap.servers": self.bootstrap_servers, "log_level": 0})
            if client is not None and _creates_topics(client):
                return
            assert self._process is not None
            if (code := self._process.poll()) is not None:
                raise BrokerNotReady(f"Apache Kafka ended with code {code}; {self._tail()}")
            if time.monotonic() > deadline:
                raise BrokerNotReady(
                    f"Apache Kafka was not ready on {self.bootstrap_servers} within "
                    f"{self._ready_seconds:g} s; {self._tail()}"
                )
            time.sleep(0.05)

    def _accepts(self) -> bool:
        with contextlib.suppress(OSError):
            socket.create_connection((self.host, self.port), timeout=1).close()
            return True
        return False

    def _tail(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()[-40:]
        return "its log ends:\n" + "\n".join(lines)

    def _said(self, begin: int) -> bytes:
        return self.log.read_bytes()[begin:] if self.log.exists() else b""

    def stop(self) -> None:
        """End cleanly, and remove the data if it is temporary. Idempotent."""
        self._end()
        if self._temporary is not None:
            self._temporary.cleanup()
            self._temporary = None

    def _end(self) -> None:
        if self._process is not None:
            self.resume()
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_PATIENCE)
            self.kill()

    def kill(self) -> None:
        """End at once, with SIGKILL. Idempotent."""
        if self._process is not None:
            process, self._process = self._process, None
            process.kill()
            process.wait()

    def restart(self) -> Self:
        """End cleanly if running, and start on the same port with the same data."""
        self._end()
        return self.start()

    def pause(self) -> None:
        """Freeze the process (SIGSTOP): to its clients it hangs."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Take back `pause`."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


_CLUSTER_ID = "cmVwZXJ0b3J5LXRlc3RzIQ"  # 16 bytes in base64, as the tool asks for


def _creates_topics(client: AdminClient) -> bool:
    """Whether the controller would create a topic, with this broker to hold it."""
    asked = client.create_topics(
        [NewTopic("ready", 1, 1)], validate_only=True, operation_timeout=5, request_timeout=5
    )
    with contextlib.suppress(KafkaException):
        asked["ready"].result()
        return True
    return False


def _free_port() -> int:
    for port in random.sample(_PORTS, 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise BrokerNotReady(f"no free port from {_PORTS.start} to {_PORTS.stop}")
