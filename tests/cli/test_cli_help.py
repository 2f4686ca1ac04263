"""`--help` teaches the command line."""

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import pytest

from repertory.cli import main

COMMANDS = list(main.commands)


def test_help_lists_every_command_with_a_whole_sentence(repertory: Callable[..., Any]) -> None:
    shown = repertory("--help")
    assert shown.code == 0
    listed = [
        line.split(maxsplit=1) for line in shown.out.split("Commands:")[1].splitlines() if line
    ]
    assert [name for name, _ in listed] == COMMANDS
    assert [sentence for _, sentence in listed if not sentence.endswith(".")] == []
    assert "\\b" not in shown.out


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help_of_its_own(command: str, repertory: Callable[..., Any]) -> None:
    shown = repertory(command, "--help")
    assert (shown.code, shown.err) == (0, "")
    assert shown.out.startswith(f"Usage: repertory {command} [OPTIONS]")
    assert max(map(len, shown.out.splitlines())) <= 80


def test_the_version_is_that_of_the_package(repertory: Callable[..., Any]) -> None:
    assert repertory("--version").out == f"repertory {version('repertory')}\n"


def test_an_unknown_command_is_refused(repertory: Callable[..., Any]) -> None:
    ended = repertory("serve")
    assert ended.code == 2
    assert "No such command 'serve'" in ended.err
