"""`make rendezvous`: several models answer for each wine, and a policy says whose answer counts.

A slow forest, an MLP and a tree are on stage while wines stream through Kafka. In three minutes:
the forest alone, a deadline, a majority, a canary that is promoted, and one that is rolled back.
Everything is done with the commands that are shown. Ctrl-C ends everything.
"""

import argparse
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from examples.wine.rendezvous_page import history, in_a_line, page, percent
from examples.wine.running import HERE, ROOT, Stopped, wines
from rich.console import Console, Group, RenderableType
from rich.live import Live

from repertory.actors.local_node import LocalNode

MODELS = (HERE / "models").relative_to(ROOT)
SHARE = 0.25  # of the records, for a canary
# Forest and MLP are known to differ on 19 of 100 wines, the MLP and the bad one on 53.
MOST_DISAGREEMENT = 0.3
ASK = "ask it yourself, from another terminal: repertory status"
PATIENCE = 10.0  # seconds, for a node that is just busy with something else


@dataclass(frozen=True, slots=True)
class Act:
    """What is shown at a time: commands, of which the last puts a policy in force."""

    title: str
    why: str
    commands: tuple[str, ...]


def main() -> None:
    """Play all acts, or until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=500, help="wines a second")
    parser.add_argument("--seconds-per-act", type=float, default=25.0, help="how long each is")
    parser.add_argument("--deadline-ms", type=int, default=20, help="more where all are slower")
    arguments = parser.parse_args()
    # What is not a terminal is wide enough for the tables.
    console = Console(width=None if sys.stdout.isatty() else 110, highlight=False)
    try:
        with wines(HERE / "rendezvous.yaml", console, rate=arguments.rate) as node:
            stage = Rendezvous(node, console, seconds=arguments.seconds_per_act)
            for act in acts(arguments.rate, arguments.seconds_per_act, arguments.deadline_ms):
                stage.play(act)
            stage.tell_history()
    except Stopped:
        console.print("stopped")


def acts(rate: int, seconds: float, deadline_ms: int) -> Iterator[Act]:
    """Yield the acts; a canary's window is an act long."""
    # So many that its rate of disagreement is known to some percent, a few seconds' worth.
    records = round(min(500, rate * SHARE * seconds * 2 / 3))
    trial = (
        f"--option share={SHARE} --option windowSeconds={seconds:g} --option records={records}"
        f" --option disagreementRate={MOST_DISAGREEMENT} --option p99Ratio=3"
    )
    yield Act(
        "One model alone",
        "Whoever asks one model waits for as long as it takes. This forest is slow on purpose:"
        " 5 ms more for one batch in two, 40 ms and more for one in a hundred.",
        (
            f"repertory publish wine {MODELS}/02-random-forest.onnx --name forest",
            f"repertory publish wine {MODELS}/05-mlp.onnx --name mlp",
            f"repertory publish wine {MODELS}/01-decision-tree.pmml --name tree",
            "repertory policy set wine latest forest",
        ),
    )
    yield Act(
        "A deadline",
        f"Now all three score every wine. After {deadline_ms} ms the best answer that has come is taken: the"
        " forest's if it is there, otherwise the MLP's, otherwise the tree's. This is Ted Dunning's"
        " rendezvous: where a model is slow, the second best answers, and nobody waits longer.",
        (f"repertory policy set wine deadline forest mlp tree --deadline-ms {deadline_ms}",),
    )
    yield Act(
        "A majority",
        "The three vote on each wine. Once two agree, nobody waits for the third, which could"
        " change nothing: it counts as late. Where all three differ, the forest's answer counts,"
        " for it is named first. How far they agree is counted for each pair.",
        ("repertory policy set wine majority forest mlp tree",),
    )
    yield Act(
        "A canary that is promoted",
        f"The MLP is to take the slow forest's place. First it gets {percent(SHARE)} of the wines; the"
        " forest scores them, too, and both are compared. They are known to differ on 19 of 100"
        f" wines; more than {percent(MOST_DISAGREEMENT)} would mean that something is broken.",
        (f"repertory policy set wine canary forest mlp {trial}",),
    )
    yield Act(
        "A bad canary that is rolled back",
        "The same MLP again, but whoever exported it forgot the scaler before it. It loads, it is"
        " fast, it fails on no record: every check of the model alone passes. Only its answers"
        " are wrong, and only another model's answers show that.",
        (
            f"repertory publish wine {MODELS}/bad/mlp-without-scaler.onnx --name mlp-next",
            f"repertory policy set wine canary mlp mlp-next {trial}",
        ),
    )


class Rendezvous:
    """Plays acts on a node, and draws what it says of them."""

    def __init__(self, node: LocalNode, console: Console, *, seconds: float) -> None:
        self._node = node
        self._console = console
        self._seconds = seconds
        self._number = 0
        self._first: int | None = None  # version of this run's first policy

    def play(self, act: Act) -> None:
        """Do what the act's commands say, and show what comes of it."""
        self._number += 1
        self._console.rule(f"[bold]{self._number}. {act.title}", align="left")
        self._console.print(act.why, style="italic")
        for command in act.commands:
            self._do(command)
        settings = self._get("/policies/wine")
        self._first = self._first or settings["version"]
        if settings["policy"] != "canary":
            self._watch(settings, self._seconds)
            return
        # A window after the first records, and as long again for a node that is busy.
        self._watch(settings, 2 * self._seconds + 10)
        self._tell_verdict(settings["version"])

    def tell_history(self) -> None:
        """Print what became of all policies, and where to read on."""
        self._console.rule("[bold]What happened", align="left")
        policies = self._get("/policies/wine/versions")["policies"]
        own = [each for each in reversed(policies) if each["version"] >= (self._first or 0)]
        self._console.print(history(own))
        self._console.print("read on: docs/rendezvous.md; a steady stream of swaps: make run")

    def _do(self, command: str) -> None:
        """Run a command of ours as it stands there, and print both. Ends the show if it fails."""
        self._console.print(f"$ {command}", style="bold cyan", soft_wrap=True, markup=False)
        done = subprocess.run(  # noqa: PLW1510 - its exit code is looked at
            [sys.executable, "-m", *shlex.split(command)],
            cwd=ROOT,
            env={**os.environ, "REPERTORY_URL": self._node.url},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        self._console.print((done.stdout + done.stderr).strip(), soft_wrap=True, markup=False)
        if done.returncode:
            sys.exit(f"the command failed; the node's log ends: {self._node.log_tail()}")

    def _watch(self, settings: dict[str, Any], seconds: float) -> None:
        """Show a policy for some seconds, or for as long as it is in force."""
        end, live = time.monotonic() + seconds, self._console.is_terminal
        with Live(console=self._console, auto_refresh=False, transient=True) as screen:
            shown: RenderableType = ""
            line_due = time.monotonic() + min(seconds, self._seconds) / 5
            while time.monotonic() < end and (state := self._state(settings["version"])):
                shown = page(state, settings["settings"], self._pairs())
                if live:
                    left = f"{end - time.monotonic():.0f} s at most; stop: Ctrl-C"
                    screen.update(Group(shown, f"[dim]{left}; {ASK}[/]"), refresh=True)
                elif time.monotonic() >= line_due:
                    self._console.print(in_a_line(state), soft_wrap=True)
                    line_due += self._seconds / 5
                time.sleep(0.25)
        self._console.print(shown)

    def _state(self, version: int) -> dict[str, Any] | None:
        """Return what the policy says of itself; None when another one is in force."""
        state: dict[str, Any] = self._get("/state/wine")["policy"]
        return state if state["version"] == version else None

    def _pairs(self) -> list[dict[str, Any]]:
        pairs: list[dict[str, Any]] = self._get("/compare/wine")["pairs"]
        return pairs

    def _get(self, path: str) -> Any:
        end = time.monotonic() + PATIENCE
        while True:
            try:
                return self._node.get(path)
            except OSError:  # urllib's are, too
                if time.monotonic() > end:
                    raise
                time.sleep(0.25)

    def _tell_verdict(self, trial: int) -> None:
        newest = self._get("/policies/wine/versions")["policies"][0]
        if newest["version"] == trial:
            self._console.print("[yellow]the trial goes on: it has seen too few records so far")
            return
        good = "promoted" in newest["description"]
        style = "bold green" if good else "bold red"
        self._console.print(newest["description"], style=style, markup=False, soft_wrap=True)
        self._console.print("from now on:")
        self._watch(self._get("/policies/wine"), self._seconds / 5)


if __name__ == "__main__":
    main()
