"""What a node says of its cluster, as tables. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from repertory.cli_sheet import Sheet
from repertory.cli_tables import moment

COLOURS = {"up": "green", "suspect": "yellow", "leaving": "yellow", "down": "red"}
NOTHING = "-"
# Nodes in these states answer.
THERE = frozenset({"up", "leaving"})


def headline(cluster: Mapping[str, Any]) -> str:
    """Return how many nodes are in which state, and who leads."""
    states = [member["state"] for member in cluster["members"]]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    nodes = "node" if len(states) == 1 else "nodes"
    return (
        f"node {cluster['node']} sees {len(states)} {nodes}: {counts}; leader {cluster['leader']}"
    )


def member_sheet(cluster: Mapping[str, Any]) -> Sheet:
    """Return the nodes, a line for each."""
    header = (
        *("node", "state", "role", "since", "software", "host", "http"),
        *("weight", "owns", "serves", "has", "only"),
    )
    members = cluster["members"]
    rows = [
        (
            member["node"],
            member["state"],
            ", ".join(member["roles"]),
            moment(member["since"]),
            member["software"] or NOTHING,
            f"{member['host']}:{member['doorPort']}",
            member["http"] or NOTHING,
            f"{member['weight']:g}",
            str(len(member["owns"])),
            str(len(member["serves"])),
            _capabilities(member["capabilities"]),
            NOTHING if member["only"] is None else ", ".join(member["only"]) or "nothing",
        )
        for member in members
    ]
    colours = [COLOURS.get(member["state"]) for member in members]
    sheet = Sheet(header, rows, colours, numbers=("weight", "owns", "serves"))
    # What no node has says nothing.
    empty = [name for name in ("has", "only") if _is_empty(sheet, name)]
    for name in empty:
        sheet = sheet.without(name)
    return sheet


def shard_sheet(cluster: Mapping[str, Any]) -> Sheet:
    """Return the data types, a line for each: those that lack a replica are yellow or red."""
    header = ("data type", "replicas", "owners", "serving, at journal position")
    shards = cluster["shards"].items()
    there = {each["node"] for each in cluster["members"] if each["state"] in THERE}
    at_work = {name: len({*shard["owners"]} & {*shard["ready"]} & there) for name, shard in shards}
    rows = [
        (
            name,
            f"{at_work[name]} of {shard['replicas']}",
            ", ".join(shard["owners"]) or "no node",
            ", ".join(f"{node} {position}" for node, position in shard["ready"].items()) or NOTHING,
        )
        for name, shard in shards
    ]
    colours = [_shard_colour(at_work[name], shard["replicas"]) for name, shard in shards]
    return Sheet(header, rows, colours)


def remarks(cluster: Mapping[str, Any]) -> Iterator[str]:
    """Yield why nodes are not up, and why owners cannot serve."""
    for member in cluster["members"]:
        if member["state"] != "up" and member["reason"]:
            yield f"node {member['node']}: {member['reason']}"
    for name, shard in cluster["shards"].items():
        for node, reason in shard["out"].items():
            yield f"{name} on {node}: {reason}"


def _shard_colour(at_work: int, wanted: int) -> str | None:
    if not at_work:
        return "red"
    return None if at_work >= wanted else "yellow"


def _capabilities(capabilities: Mapping[str, bool | str]) -> str:
    told = (
        name if value is True else f"{name}={value}"
        for name, value in capabilities.items()
        if value is not False
    )
    return ", ".join(told) or NOTHING


def _is_empty(sheet: Sheet, column: str) -> bool:
    index: int = sheet.header.index(column)
    cells: Sequence[str] = [row[index] for row in sheet.rows]
    return set(cells) == {NOTHING}
