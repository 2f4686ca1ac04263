"""`repertory replay --from decoy`: inputs that were archived, scored again, without a node."""

import csv
import itertools
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from dataclasses import replace as changed
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from google.protobuf.json_format import ParseDict

from repertory.actors.batch import (
    ModelRef,
    PolicyReport,
    RecordFailed,
    ScoredColumns,
    SlotReport,
    SlotState,
    encode_columns,
    encode_records,
)
from repertory.actors.decoy_spool import DecoyEntry, DecoySpool
from repertory.config import NodePaths, load_config
from repertory.errors import FailureCode
from repertory.journal.sqlite import SqliteJournal
from repertory.models.green_room import Admitted, GreenRoom
from repertory.models.loader import load_model
from repertory.models.model import Model
from repertory.models.prepared import save_prepared
from repertory.models.records import RecordDecoder
from repertory.models.schema import schema_of
from repertory.protos.modeldescriptor_pb2 import ModelDescriptor
from repertory.protos.winerecord_pb2 import WineRecord
from repertory.streams.archive import Archiver

COUNT = 60
MODELS = {"forest": "02-random-forest.onnx", "mlp": "05-mlp.onnx"}


@pytest.fixture(scope="module")
def wines(wine_data: Path) -> list[bytes]:
    """The example's first records."""
    with wine_data.open(newline="") as file:
        rows = list(itertools.islice(csv.DictReader(file), COUNT))
    known = WineRecord.DESCRIPTOR.fields_by_name
    numbers = [{key: float(row[key]) for key in row if key in known} for row in rows]
    return [ParseDict(each, WineRecord()).SerializeToString() for each in numbers]


@dataclass
class Stage:
    """A node's folder with versions 1, the forest, and 2, the MLP, and what they answered."""

    config_path: Path
    paths: NodePaths
    refs: list[ModelRef]
    models: list[Model]
    decoder: RecordDecoder

    def answers(self, version: int, records: Sequence[bytes]) -> ScoredColumns:
        """Return what a version says."""
        columns, undecodable = self.decoder.decode(records, json=False)
        found = self.models[version - 1].score(columns)
        failures = {
            row: RecordFailed(each.code, each.message)
            for row, each in {**found.failures, **undecodable}.items()
        }
        return ScoredColumns(
            self.refs[version - 1],
            len(records),
            found.values,
            found.labels,
            found.chosen,
            found.probabilities,
            failures,
        )

    def archive(self, *batches: tuple[int, Sequence[bytes], int]) -> None:
        """Archive batches: the version that answered, the records, and when (seconds, epoch)."""
        for version, records, moment in batches:
            self.archive_columns(self.answers(version, records), records, moment)

    def archive_columns(
        self, columns: ScoredColumns, records: Sequence[bytes], moment: int = 1
    ) -> None:
        """Archive a batch, in a segment of its own; its model's slot answered it if none is named."""
        spool = DecoySpool(self.paths.decoy / "wine", limit_bytes=1 << 30)
        report = SlotReport(columns.model.name, SlotState.ARRIVED, model=columns.model)
        if columns.policy is None:
            columns = changed(columns, policy=PolicyReport("latest", 9, (report,)))
        entry = DecoyEntry(
            "wine",
            encode_records(records),
            len(records),
            encode_columns(columns).SerializeToString(),
            archived_us=moment * 1_000_000,
        )
        assert spool.append(entry)
        spool.close()


@pytest.fixture(scope="module")
def stage(make_config: Callable[..., Path], wine_models: Path) -> Iterator[Stage]:
    """Versions 1 and 2 as a keeper leaves them."""
    path = make_config()
    config = load_config(path)
    paths = NodePaths(config, "a")
    paths.create()
    schema = schema_of("wine", config.data_types["wine"])
    admitted: list[Admitted] = []
    with (
        closing(GreenRoom(config.models, {"wine": schema})) as room,
        closing(SqliteJournal(paths.journal)) as journal,
    ):
        for name, file in MODELS.items():
            descriptor = ModelDescriptor(
                name=name,
                dataType="wine",
                modeltype=ModelDescriptor.ONNX,
                data=(wine_models / file).read_bytes(),
            ).SerializeToString()
            version = journal.append("wine", descriptor).position
            admitted.append(room.prepare(descriptor))
            save_prepared(admitted[-1].prepared, paths.models / "wine" / str(version))
    refs = [ModelRef(each.name, at, each.sha256) for at, each in enumerate(admitted, 1)]
    models = [load_model(each.prepared) for each in admitted]
    yield Stage(path, paths, refs, models, RecordDecoder(schema, WineRecord))
    shutil.rmtree(paths.run)


@pytest.fixture(autouse=True)
def _nothing_archived(stage: Stage) -> Iterator[None]:
    yield
    shutil.rmtree(stage.paths.decoy, ignore_errors=True)
    shutil.rmtree(stage.paths.archive, ignore_errors=True)


@pytest.fixture
def replay(stage: Stage, repertory: Callable[..., Any]) -> Callable[..., Any]:
    """Run `repertory replay --from decoy wine`."""

    def run(*arguments: object) -> Any:
        origin = ("--config", stage.config_path, "--from", "decoy")
        return repertory("replay", *origin, "wine", *arguments)

    return run


def counts(out: str) -> list[int]:
    found = orjson.loads(out)
    return [found[key] for key in ("identical", "close", "different", "unanswered")]


def test_the_same_version_says_the_same_bit_for_bit(
    stage: Stage, wines: list[bytes], replay: Callable[..., Any]
) -> None:
    stage.archive((1, wines[:40], 1), (2, wines[40:], 2), (1, wines[:1], 3))
    Archiver(load_config(stage.config_path), stage.paths, "a").round()
    ended = replay("--json")
    assert ended.code == 0, ended.err
    assert counts(ended.out) == [61, 0, 0, 0]
    assert orjson.loads(ended.out)["versions"] == {"forest@1": 41, "mlp@2": 20}


def test_what_waits_in_the_spool_is_replayed_too(
    stage: Stage, wines: list[bytes], replay: Callable[..., Any]
) -> None:
    stage.archive((1, wines[:20], 1))
    Archiver(load_config(stage.config_path), stage.paths, "a").round()
    stage.archive((1, wines[20:], 2))
    assert counts(replay("--json").out) == [60, 0, 0, 0]


def test_records_of_one_batch_go_to_the_slots_that_answered_them(
    stage: Stage, wines: list[bytes], replay: Callable[..., Any]
) -> None:
    sides = np.arange(COUNT) % 2  # as a canary parts them
    parts = [np.flatnonzero(sides == side) for side in (0, 1)]
    answers = [stage.answers(side + 1, [wines[row] for row in parts[side]]) for side in (0, 1)]
    assert answers[0].labels == answers[1].labels
    slots = tuple(
        SlotReport(each.model.name, SlotState.ARRIVED, model=each.model, rows=parts[side])
        for side, each in enumerate(answers)
    )
    policy = PolicyReport("canary", 9, slots, sides.astype(np.int8))
    merged = changed(
        answers[0],
        count=COUNT,
        chosen=np.stack([each.chosen for each in answers], axis=1).ravel(),  # type: ignore[misc]
        probabilities=np.stack([each.probabilities for each in answers], axis=1).reshape(COUNT, -1),  # type: ignore[misc]
        policy=policy,
    )
    stage.archive_columns(merged, wines)
    found = orjson.loads(replay("--json").out)
    assert (found["identical"], found["versions"]) == (COUNT, {"forest@1": 30, "mlp@2": 30})


def test_another_version_is_compared(
    stage: Stage, wines: list[bytes], replay: Callable[..., Any]
) -> None:
    stage.archive((1, wines, 1))
    before, after = stage.answers(1, wines), stage.answers(2, wines)
    assert before.chosen is not None
    assert after.chosen is not None
    then = [before.labels[place] for place in before.chosen]
    now = [after.labels[place] for place in after.chosen]
    found = orjson.loads(replay("--model", "mlp@2", "--json").out)
    same = sum(map(str.__eq__, then, now))
    assert found["agreement"] == pytest.approx(same / COUNT)
    assert {(each["then"], each["now"]): each["records"] for each in found["confusion"]} == {
        pair: list(zip(then, now, strict=True)).count(pair) for pair in zip(then, now, strict=True)
    }


def test_people_are_told_what_differs(
    stage: Stage, wines: list[bytes], replay: Callable[..., Any]
) -> None:
    stage.archive((1, wines, 1))
    out = replay("--model", "mlp@2").out
    assert "60 inputs of wine in 1 batches" in out
    assert "scored again by mlp@2 (60); compared with what was answered then" in out
    assert "agreement " in out
    assert "record that differs" in out


def test_versions_can_be_compared_with_each_other(
    stage: Stage, wines: list[bytes], replay: Callable[..., Any]
) -> None:
    stage.archive((1, wines, 1))
    assert counts(replay("--model", "2", "--against", "mlp@2", "--json").out) == [60, 0, 0, 0]


def test_an_answer_that_was_another_one_is_found(
    stage: Stage, wines: list[bytes], replay: Callable[..., Any]
) -> None:
    forged = stage.answers(1, wines)
    assert forged.chosen is not None
    forged.chosen[7] = (forged.chosen[7] + 1) % len(forged.labels)
    stage.archive_columns(forged, wines)
    ended = replay("--json")
    assert ended.code == 1
    assert counts(ended.out) == [59, 0, 1, 0]
    assert orjson.loads(ended.out)["examples"][0]["record"].endswith("/0:7")


def test_records_that_failed_fail_again(
    stage: Stage, wines: list[bytes], replay: Callable[..., Any]
) -> None:
    stage.archive((1, [wines[0], b"\xff\xff", wines[1]], 1))
    assert counts(replay("--json").out) == [3, 0, 0, 0]


def test_records_that_nobody_answered_are_counted_apart(
    stage: Stage, wines: list[bytes], replay: Callable[..., Any]
) -> None:
    columns = stage.answers(1, wines)
    columns.failures[3] = RecordFailed(FailureCode.DEADLINE_EXCEEDED, "no model answered in time")
    slots = (SlotReport("forest", SlotState.ARRIVED, model=stage.refs[0]),)
    chosen = np.where(np.arange(COUNT) == 3, -1, 0).astype(np.int8)
    policy = PolicyReport("deadline", 9, slots, chosen)
    stage.archive_columns(changed(columns, policy=policy), wines)
    assert counts(replay("--json").out) == [59, 0, 0, 1]


def test_a_version_that_was_pruned_is_prepared_again_from_the_journal(
    stage: Stage, wines: list[bytes], replay: Callable[..., Any]
) -> None:
    stage.archive((2, wines, 1))
    folder = stage.paths.models / "wine" / "2"
    aside = folder.rename(folder.with_name("aside"))
    ended = replay("--json")
    assert not folder.exists()  # nothing is written where the node's are
    aside.rename(folder)
    assert counts(ended.out) == [60, 0, 0, 0], ended.err


def test_time_and_limit_choose(
    stage: Stage, wines: list[bytes], replay: Callable[..., Any]
) -> None:
    stage.archive((1, wines[:10], 1000), (1, wines[:20], 2000), (1, wines[:30], 3000))
    assert orjson.loads(replay("--as-of", "1970-01-01T00:34+00:00", "--json").out)["records"] == 30
    assert orjson.loads(replay("--since", "1970-01-01T00:30+00:00", "--json").out)["records"] == 50
    assert orjson.loads(replay("--limit", 5, "--json").out)["records"] == 10


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--model", "mlp@1"), 1, "is forest@1, not 'mlp'"),
        (("--model", "mlp@77"), 1, "has no version 77 of 'wine'"),
        (("--model", "mlp@latest"), 2, "is no version: NAME@VERSION"),
        (("--rate", "5"), 2, "--rate does not go with --from decoy"),
        (("--node", "z"), 2, "no node 'z' is declared"),
        ((), 1, "no inputs of 'wine' are archived"),
    ],
)
def test_what_cannot_be_is_told(
    replay: Callable[..., Any], arguments: tuple[str, ...], code: int, said: str
) -> None:
    ended = replay(*arguments)
    assert (ended.code, said in ended.err) == (code, True), ended.err


def test_another_content_under_the_same_number_is_told(
    stage: Stage, wines: list[bytes], replay: Callable[..., Any]
) -> None:
    columns = changed(stage.answers(1, wines), model=ModelRef("forest", 1, "0" * 64))
    stage.archive_columns(columns, wines)
    ended = replay()
    assert ended.code == 1
    assert "the archive is of another journal" in ended.err


def test_options_of_the_decoy_do_not_go_with_a_file(
    repertory: Callable[..., Any], wine_data: Path
) -> None:
    ended = repertory("replay", wine_data, "--model", "mlp@2")
    assert (ended.code, "--model does not go with --from file" in ended.err) == (2, True)
