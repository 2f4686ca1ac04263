"""A visit to a server: it is started, asked in each of its forms, checked, and ended."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import onnxruntime
from benchmarks.http_connection import NotAnswered, Reply
from benchmarks.http_forms import Answer, Form
from benchmarks.http_load import LINES, Make, Taken, centile, closed, paced
from benchmarks.http_servers import Server, Up
from benchmarks.stream_contender import ContenderFailed
from benchmarks.stream_processes import pss_bytes
from benchmarks.wine import FEATURES, MODEL, wines

PACE = "half"
"""The load that comes at half of what the server reached."""

_TOLERANCE = 1e-4  # of a probability: some answers are of single precision, in decimal
_MB = 1_000_000

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Length:
    """How long a load is, in seconds, and how many clients there are."""

    seconds: float
    warm: float
    clients: tuple[int, ...]

    @property
    def form_seconds(self) -> float:
        """How long it takes to ask in one form."""
        return (self.warm + self.seconds) * (len(self.clients) + 1)


@dataclass(frozen=True, slots=True)
class Result:
    """What one load of one form did, or why not."""

    round: int
    server: str
    form: str
    load: str
    """The number of clients, or PACE."""
    rate: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    cpu_per_thousand: float = 0.0
    """CPU seconds of all processes of the server, for a thousand requests."""
    memory_mb: float = 0.0
    """Of all its processes, pages that several share counted once (PSS), after the load."""
    largest_mb: float = 0.0
    """Of its largest process."""
    processes: int = 0
    client_cores: float = 0.0
    """How much of a core the load itself took."""
    failure: str | None = None


class Wines:
    """As many wines as there are connections, and what is to be said of each."""

    @cached_property
    def asked(self) -> list[dict[str, float]]:
        """The wines."""
        return wines(LINES)

    @cached_property
    def expected(self) -> list[Answer]:
        """The labels and probabilities by ONNX Runtime itself."""
        session = onnxruntime.InferenceSession(MODEL, providers=["CPUExecutionProvider"])
        rows = [[wine[name] for name in FEATURES] for wine in self.asked]
        labels, probabilities = session.run(
            ["label", "probabilities"], {"wine": np.array(rows, np.float32)}
        )
        return list(zip(labels.tolist(), probabilities.tolist(), strict=True))

    def makes(self, form: Form, count: int) -> list[Make]:
        """Return what makes connections, each of which asks about its own wine."""
        return [partial(form.connection, wine) for wine in self.asked[:count]]

    def check(self, form: Form, replies: list[Reply]) -> None:
        """Compare the last replies of connections. Raises NotAnswered when one is wrong."""
        for reply, (label, probabilities) in zip(replies, self.expected, strict=False):
            found, numbers = form.answer(reply)
            if found != label or not np.allclose(numbers, probabilities, atol=_TOLERANCE):
                raise NotAnswered(f"{label} {probabilities} was expected: {reply}")


WINES = Wines()


def visit(server: Server, number: int, folder: Path, length: Length, say: Say) -> Iterator[Result]:
    """Start a server, ask it, and end it.

    A form that fails has one result that says why, and the others are asked all the same; when the
    server does not come up, that is the failure of all of them.
    """
    say("starting")
    folder.mkdir()
    try:
        with server.start(folder) as up:
            for form in server.forms:
                try:
                    yield from _ask(server, number, form, up, length=length, say=say)
                except NotAnswered as error:
                    yield Result(number, server.key, form.title, "", failure=str(error))
            up.check()
    except ContenderFailed as error:
        for form in server.forms:
            yield Result(number, server.key, form.title, "", failure=str(error))


def _ask(
    server: Server, number: int, form: Form, up: Up, *, length: Length, say: Say
) -> Iterator[Result]:
    port, best = up.port_of(form), 0.0
    times = {"warm": length.warm, "seconds": length.seconds}
    for clients in length.clients:
        say(f"{form.title}, {clients} clients")
        load = partial(closed, port, WINES.makes(form, clients), **times)
        result = _measured(up, form, load, Result(number, server.key, form.title, str(clients)))
        best = max(best, result.rate)
        yield result
    say(f"{form.title}, {best / 2:,.0f} requests/s")
    load = partial(paced, port, WINES.makes(form, LINES), best / 2, **times)
    yield _measured(up, form, load, Result(number, server.key, form.title, PACE))


def _measured(up: Up, form: Form, load: Callable[[], Taken], what: Result) -> Result:
    before = up.processes.cpu_seconds()
    taken = load()
    cpu = up.processes.cpu_seconds() - before
    WINES.check(form, taken.replies)
    memory = sorted(filter(None, map(pss_bytes, up.processes.pids())))
    return Result(
        what.round,
        what.server,
        what.form,
        what.load,
        rate=taken.rate,
        p50_ms=centile(taken.latencies, 0.50),
        p99_ms=centile(taken.latencies, 0.99),
        cpu_per_thousand=cpu / taken.answered * 1000,
        memory_mb=sum(memory) / _MB,
        largest_mb=memory[-1] / _MB,
        processes=len(memory),
        client_cores=taken.client_cores,
    )
