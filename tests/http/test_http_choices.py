"""How `POST /score` tells of a policy's choices, at a door that answers what the test says."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from repertory.actors.batch import (
    ModelRef,
    PolicyReport,
    RecordFailed,
    ScoredColumns,
    SlotReport,
    SlotState,
    decode_records,
    encode_columns,
)
from repertory.actors.client import RouterClient
from repertory.actors.frames import Frame, FrameReader, encode_frame
from repertory.config import ClusterConfig
from repertory.errors import FailureCode
from repertory.http.dispatch import Dispatcher
from repertory.http.errors_middleware import errors_as_json
from repertory.http.scoring import Scoring
from repertory.protos.door_pb2 import Envelope, Welcome

ROOT = Path(__file__).parents[2]
MAX_BATCH = 3
FOREST, TREE = ModelRef("forest", 3, "f" * 64), ModelRef("tree", 5, "e" * 64)
ARRIVED = SlotState.ARRIVED
NO = RecordFailed(FailureCode.SCORING_FAILED, "no")
Answer = Callable[[int, list[float]], ScoredColumns]
"""What a door answers to its n-th batch, of records that are numbers."""


class Door:
    """A router's door that scores numbers."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.explained: list[bool] = []
        self.batches: list[list[float]] = []
        self._writers: list[asyncio.StreamWriter] = []

    @asynccontextmanager
    async def open_at(self, path: Path) -> AsyncIterator[None]:
        """Listen, and hang up in the end."""
        server = await asyncio.start_unix_server(self._serve, path)
        yield
        server.close()
        for writer in self._writers:
            writer.close()
            await writer.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        frames = FrameReader()
        while data := await reader.read(65536):
            for frame in frames.feed(data):
                writer.write(self._reply(frame))

    def _reply(self, frame: Frame) -> bytes:
        asked = frame.envelope
        if asked.kind == Envelope.HELLO:
            welcome = Welcome(protocol=1, node="a", incarnation="1", credit=64)
            return encode_frame(Envelope(kind=Envelope.WELCOME), welcome.SerializeToString())
        records = [json.loads(each) for each in decode_records(frame.payload, asked.count)]
        self.explained.append(asked.explain)
        self.batches.append(records)
        columns = self._answer(len(self.batches), records)
        reply = Envelope(kind=Envelope.SCORED, correlation_id=asked.correlation_id)
        return encode_frame(reply, encode_columns(columns).SerializeToString())


Ask = Callable[..., Any]


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    """Have records scored over HTTP by whoever is behind a door."""
    document = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    document["data_types"]["wine"]["max_batch"] = MAX_BATCH
    config = ClusterConfig.model_validate(document)

    async def post(door: Door, records: list[float], **query: str) -> Any:
        path = tmp_path / "door.sock"
        async with door.open_at(path), RouterClient(path, role="test") as router:
            app = web.Application(middlewares=[errors_as_json])
            scoring = Scoring(config, router, Dispatcher(config, router))
            app.router.add_post("/score/{dataType}", scoring.score)
            async with TestClient(TestServer(app)) as client:
                reply = await client.post("/score/wine", json=records, params=query)
                return await reply.json()

    return post


def numbers(records: list[float], model: ModelRef = FOREST) -> ScoredColumns:
    """Return each record as its own score; those below 0 fail."""
    failures = {row: NO for row, each in enumerate(records) if each < 0}
    return ScoredColumns(model, len(records), np.array(records), (), None, None, failures)


def chosen(
    records: list[float], *, version: int = 7, forest: ModelRef = FOREST, explained: bool = False
) -> ScoredColumns:
    """Return the same as a policy chose it: the odd ones are the tree's, as fallbacks."""
    columns = numbers(records, forest)
    answer = columns if explained else None
    odd = np.array(records) % 2 == 1
    slots = (
        SlotReport("forest", ARRIVED, model=forest, answer=answer),
        SlotReport("tree", ARRIVED, model=TREE, answer=answer and replace(answer, model=TREE)),
        SlotReport("mlp", SlotState.FAILED, shadow=True, reason="it died"),
    )
    places = np.where(np.array(records) < 0, -1, odd).astype(np.int8)
    report = PolicyReport("deadline", version, slots, places, odd, slack_seconds=len(records) / 1e3)
    return replace(columns, policy=report)


async def test_without_a_policy_nothing_is_said_of_one(ask: Ask) -> None:
    reply = await ask(Door(lambda _, records: numbers(records)), [1.0, -1.0], explain="true")
    assert set(reply) == {"dataType", "model", "results"}
    assert reply["results"] == [{"value": 1.0}, {"error": "no", "code": "scoring_failed"}]


async def test_each_result_names_its_slot_and_model(ask: Ask) -> None:
    reply = await ask(Door(lambda _, records: chosen(records)), [1.0, 2.0, -1.0])
    assert reply["results"] == [
        {
            "value": 1.0,
            "slot": "tree",
            "model": {"name": "tree", "version": 5},
            "fallback": True,
        },
        {
            "value": 2.0,
            "slot": "forest",
            "model": {"name": "forest", "version": 3},
            "fallback": False,
        },
        {"error": "no", "code": "scoring_failed"},
    ]


async def test_the_reply_says_what_became_of_each_slot(ask: Ask) -> None:
    # Two batches: of three records and of one.
    reply = await ask(Door(lambda _, records: chosen(records)), [1.0, 2.0, 3.0, 4.0])
    forest = {"name": "forest", "version": 3, "sha256": "f" * 64}
    assert reply["model"] == forest
    assert reply["policy"] == {
        "name": "deadline",
        "version": 7,
        "slackMs": 1.0,
        "slots": [
            {"slot": "forest", "state": "arrived", "shadow": False, "model": forest, "reason": ""},
            {
                "slot": "tree",
                "state": "arrived",
                "shadow": False,
                "model": {"name": "tree", "version": 5, "sha256": "e" * 64},
                "reason": "",
            },
            {
                "slot": "mlp",
                "state": "failed",
                "shadow": True,
                "model": None,
                "reason": "it died",
            },
        ],
    }


async def test_explained_each_result_has_what_each_slot_said(ask: Ask) -> None:
    door = Door(lambda _, records: chosen(records, explained=True))
    reply = await ask(door, [1.0, 2.0, -1.0, 4.0], explain="true")
    assert door.explained == [True, True]
    assert [len(result["answers"]) for result in reply["results"]] == [2, 2, 2, 2]
    assert reply["results"][3]["answers"] == [
        {"slot": "forest", "version": 3, "value": 4.0},
        {"slot": "tree", "version": 5, "value": 4.0},
    ]
    failed = {"error": "no", "code": "scoring_failed"}
    assert reply["results"][2] == failed | {
        "answers": [
            {"slot": "forest", "version": 3, **failed},
            {"slot": "tree", "version": 5, **failed},
        ]
    }


async def test_nothing_is_explained_unasked(ask: Ask) -> None:
    door = Door(lambda _, records: chosen(records))
    reply = await ask(door, [1.0])
    assert door.explained == [False]
    assert "answers" not in reply["results"][0]
    assert "true or false" in (await ask(door, [1.0], explain="maybe"))["error"]


async def test_one_request_is_answered_by_one_version_of_the_policy(ask: Ask) -> None:
    door = Door(lambda number, records: chosen(records, version=min(number, 3)))
    reply = await ask(door, [float(each) for each in range(9)])
    assert reply["policy"]["version"] == 3
    assert door.batches == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [0, 1, 2], [3, 4, 5]]
    assert [result["value"] for result in reply["results"]] == list(range(9))


async def test_a_policy_that_ends_meanwhile_is_not_said_to_have_chosen(ask: Ask) -> None:
    def answer(number: int, records: list[float]) -> ScoredColumns:
        return chosen(records) if number == 1 else numbers(records)

    reply = await ask(Door(answer), [0.0, 1.0, 2.0, 3.0])
    assert "policy" not in reply
    assert all(set(result) == {"value"} for result in reply["results"])


async def test_models_that_are_swapped_under_a_policy_are_named_record_by_record(ask: Ask) -> None:
    newer = replace(FOREST, version=9)
    door = Door(lambda number, records: chosen(records, forest=FOREST if number == 1 else newer))
    reply = await ask(door, [0.0, 2.0, 4.0, 6.0])
    assert [result["model"]["version"] for result in reply["results"]] == [3, 3, 3, 9]
    slots = [(each["slot"], (each["model"] or {}).get("version")) for each in _slots(reply)]
    assert slots == [("forest", 3), ("forest", 9), ("tree", 5), ("mlp", None)]
    assert len(door.batches) == 2


def _slots(reply: Any) -> Any:
    return reply["policy"]["slots"]
