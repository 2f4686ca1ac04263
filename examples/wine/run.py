"""`make run`: wines stream through Kafka into a node, and a new model goes on stage every 10 s.

Starts the embedded broker and a node, replays the red wines at a steady rate, publishes the
example's models in turn, and shows what is served. Ctrl-C ends everything.
"""

import argparse
import json
import time
from collections import deque
from itertools import cycle
from typing import Any
from urllib.error import HTTPError, URLError

from examples.wine.running import HERE, ROOT, Stopped, brokers, wines
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table

from repertory.actors.local_node import LocalNode
from repertory.streams.publish import publish_model


def main() -> None:
    """Run until Ctrl-C, or for --seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=1000, help="wines a second")
    parser.add_argument("--every", type=float, default=10.0, help="seconds between new models")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="how long to run")
    arguments = parser.parse_args()
    console = Console()
    try:
        with wines(ROOT / "cluster.yaml", console, rate=arguments.rate) as node:
            Show(node, console, every=arguments.every).run(arguments.seconds)
    except Stopped:
        console.print("stopped; run it again, and it serves from its snapshot")


class Show:
    """Publishes the models in turn, and draws what the node says."""

    def __init__(self, node: LocalNode, console: Console, *, every: float) -> None:
        self._node = node
        self._console = console
        self._every = every
        self._models = cycle(json.loads((HERE / "models" / "models.json").read_text()))
        self._published: deque[str] = deque(maxlen=1)

    def run(self, seconds: float) -> None:
        """Publish and draw, for `seconds`."""
        end = time.monotonic() + seconds
        due = time.monotonic()
        if (served := self._state()) is not None:
            where = f"version {served['version']} ({served['name']})"
            self._console.print(f"[green]serving[/] {where} from its snapshot")
            due += self._every
        shown = served is not None
        with Live(console=self._console, refresh_per_second=4, screen=False) as live:
            while time.monotonic() < end:
                if time.monotonic() >= due:
                    self._publish()
                    due += self._every
                if not shown and (state := self._state()) is not None:
                    shown = True
                    live.console.print(
                        f"[green]serving[/] version {state['version']} ({state['name']})"
                    )
                live.update(self._page(due))
                time.sleep(0.25)

    def _publish(self) -> None:
        model = next(self._models)
        publish_model(
            HERE / "models" / model["file"],
            bootstrap_servers=brokers(self._node),
            topic="models",
            data_type="wine",
            name=model["name"],
            description=model["description"],
            model_type=model["modelType"],
        )
        self._published.append(f"{model['file']} ({model['description']})")

    def _state(self) -> dict[str, Any] | None:
        try:
            state: dict[str, Any] = self._node.get("/state/wine")
        except (HTTPError, URLError):
            return None
        return state

    def _page(self, due: float) -> Panel:
        state = self._state()
        parts: list[Any] = [self._stage(state) if state else "no model serves wine yet"]
        if self._published:
            left = max(0.0, due - time.monotonic())
            parts.append(f"published last: {self._published[0]}; the next in {left:.0f} s")
        if (stream := self._stream()) is not None:
            parts.append(stream)
        parts += [
            self._versions(),
            f"[dim]ask it yourself:[/] curl {self._node.url}/state/wine   [dim]stop: Ctrl-C[/]",
        ]
        return Panel(Group(*parts), title="Repertory serves wine")

    def _stage(self, state: dict[str, Any]) -> Table:
        table = Table(
            "serving", "version", "type", "usage", "records/s", "errors", "p50 ms", "p99 ms"
        )
        table.add_row(
            f"[bold green]{state['name']}[/]",
            str(state["version"]),
            state["modelType"],
            f"{state['usage']:,}",
            f"{self._rate(state):,.0f}",
            str(state["errors"]),
            f"{state['percentiles']['p50']:.2f}",
            f"{state['percentiles']['p99']:.2f}",
        )
        return table

    def _stream(self) -> str | None:
        """Tell what the Kafka face counts: results out, and how long after their records."""
        try:
            faces = self._node.get("/status")["faces"]
        except (HTTPError, URLError):
            return None
        found = [counts for name, counts in faces.items() if name.startswith("streams")]
        # A face that waits for its broker has nothing to tell yet.
        if not found or found[0].get("latency_ms", {}).get("p50") is None:
            return None
        latency = found[0]["latency_ms"]
        return (
            f"results on Kafka: {found[0]['scored']:,}, dead letters: {found[0]['dead_letters']:,}; "
            f"record to result: {latency['p50']:.0f} ms (p50), {latency['p99']:.0f} ms (p99)"
        )

    def _rate(self, state: dict[str, Any]) -> float:
        seconds = time.time() - state["since"] / 1000
        return float(state["usage"] / seconds) if seconds > 0 else 0.0

    def _versions(self) -> Table:
        table = Table("version", "state", "name", "reason", title="versions, newest first")
        try:
            versions = self._node.get("/models/wine/versions")["versions"]
        except (HTTPError, URLError):
            versions = []
        colours = {"SERVING": "green", "REJECTED": "red"}
        for each in versions[:8]:
            colour = colours.get(each["state"], "default")
            row = (
                str(each["version"]),
                f"[{colour}]{each['state']}[/]",
                each["name"],
                each["reason"],
            )
            table.add_row(*row)
        return table


if __name__ == "__main__":
    main()
