"""What a policy actor decides: events in, frames out, by a clock that stands until it is moved."""

import json
from collections.abc import Sequence
from itertools import count
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repertory.actors.batch import (
    ModelRef,
    ScoredColumns,
    SlotState,
    decode_columns,
    decode_records,
    encode_columns,
    encode_records,
)
from repertory.actors.frames import Frame
from repertory.actors.policies.active import ActivePolicy
from repertory.actors.policies.records import FieldReader
from repertory.actors.policies.settings import PolicySettings
from repertory.actors.policies.trial import Verdict
from repertory.actors.policy_core import MOST_SECONDS, PolicyCore, Send
from repertory.actors.target import FATAL_ATTEMPTS
from repertory.errors import FailureCode
from repertory.protos.door_pb2 import Envelope, Failure, ScoredBatch
from repertory.protos.winerecord_pb2 import WineRecord

ROUTER = 1
WINDOW = 64
PEERS = {"": 10, "forest": 11, "mlp": 12, "tree": 13}
DEADLINE: dict[str, Any] = {
    "policy": "deadline",
    "slots": ["forest", "mlp", "tree"],
    "deadlineMs": 20,
}
MAJORITY: dict[str, Any] = {"policy": "majority", "slots": ["forest", "mlp", "tree"]}
LATEST = {"policy": "latest"}


class World:
    """A policy's core with slots that are up, and a clock."""

    def __init__(self, document: dict[str, Any] | None, *, position: int = 1) -> None:
        self.now = 100.0
        self.archived: list[bytes] = []
        self.core = PolicyCore(
            "a",
            FieldReader(WineRecord),
            window=WINDOW,
            archive=lambda _, answer: self.archived.append(answer),
            clock=lambda: self.now,
        )
        self._numbers = count(1)
        if document is not None:
            self.play(document, position=position)

    def play(self, document: dict[str, Any], *, position: int) -> None:
        """Put a policy in force, and its slots up."""
        settings = PolicySettings.model_validate(document)
        policy = ActivePolicy(settings, position=position, since_ms=5, clock=lambda: self.now)
        self.core.prepare(policy)
        for name in self.core.wanted():
            self.core.slot_up(name, PEERS[name])
        assert self.core.is_complete
        self.core.play()

    def score(
        self,
        *records: bytes,
        ms: int = 0,
        explain: bool = False,
        slot: str = "",
        peer: int = ROUTER,
    ) -> dict[str, Send]:
        """Send a batch; return what slots are asked, by name."""
        self.score_only(*records, ms=ms, explain=explain, slot=slot, peer=peer)
        return self.asked()

    def score_only(
        self,
        *records: bytes,
        ms: int = 0,
        explain: bool = False,
        slot: str = "",
        peer: int = ROUTER,
    ) -> None:
        """Send a batch."""
        envelope = Envelope(
            kind=Envelope.SCORE,
            correlation_id=next(self._numbers),
            data_type="wine",
            count=len(records),
            budget_ms=ms,
            explain=explain,
            slot=slot,
        )
        self.core.score(peer, Frame(envelope, encode_records(records)))

    def asked(self) -> dict[str, Send]:
        """Take what slots are asked, by name."""
        names = {peer: name for name, peer in PEERS.items()}
        sends = [each for each in self.core.outbox if each.peer in names]
        self.core.outbox = [each for each in self.core.outbox if each.peer not in names]
        return {names[each.peer]: each for each in sends}

    def reply(self, slot: str, to: Send, *labels: str, version: int = 7) -> None:
        """Have a slot answer; `x` is a record that it has no score for."""
        payload = encode_columns(said(slot, labels, version)).SerializeToString()
        envelope = Envelope(kind=Envelope.SCORED, correlation_id=to.envelope.correlation_id)
        self.core.replied(to.peer, Frame(envelope, payload))

    def refuse(self, to: Send, code: FailureCode) -> None:
        """Have a slot fail a batch whole."""
        payload = Failure(code=code, message="no").SerializeToString()
        envelope = Envelope(kind=Envelope.FAILURE, correlation_id=to.envelope.correlation_id)
        self.core.replied(to.peer, Frame(envelope, payload))

    def pass_time(self, milliseconds: float) -> None:
        """Move the clock, and do what is due."""
        self.now += milliseconds / 1000
        self.core.due()
        self.core.tick()

    def answers(self) -> list[Send]:
        """Take what the router is told."""
        sends = [each for each in self.core.outbox if each.peer == ROUTER]
        self.core.outbox = [each for each in self.core.outbox if each.peer != ROUTER]
        return sends

    def answer(self, length: int) -> ScoredColumns:
        """Take the one answer."""
        [send] = self.answers()
        assert send.envelope.kind == Envelope.SCORED
        return decode_columns(ScoredBatch.FromString(send.payload), length)

    def failure(self) -> str:
        """Take the one failure."""
        [send] = self.answers()
        assert send.envelope.kind == Envelope.FAILURE
        return Failure.FromString(send.payload).code

    def is_empty(self) -> bool:
        """Tell whether nothing is kept of any batch."""
        state = self.core.state_json()
        return (state["held"], state["open"]) == (0, 0)


def said(slot: str, labels: Sequence[str], version: int) -> ScoredColumns:
    names = tuple(sorted({*labels} - {"x"}))
    chosen = np.array([-1 if label == "x" else names.index(label) for label in labels], np.int32)
    model = ModelRef(slot, version, "ab")
    return ScoredColumns(model, len(labels), None, names, chosen, None, {})


def wine(alcohol: float = 9) -> bytes:
    return WineRecord(alcohol=alcohol).SerializeToString()


def labels(columns: ScoredColumns) -> list[str]:
    return [getattr(outcome, "label", "x") for outcome in columns.outcomes()]


def test_all_slots_are_asked_at_once_and_the_best_answer_is_taken() -> None:
    world = World(DEADLINE)
    asked = world.score(wine())
    assert list(asked) == ["forest", "mlp", "tree"]
    world.reply("tree", asked["tree"], "5")
    world.reply("forest", asked["forest"], "6")
    columns = world.answer(1)
    assert labels(columns) == ["6"]
    assert columns.policy is not None
    assert columns.policy.version == 1
    assert not columns.policy.is_fallback(0)
    assert [each.state for each in columns.policy.slots] == [
        SlotState.ARRIVED,
        SlotState.NOT_NEEDED,
        SlotState.ARRIVED,
    ]


def test_at_the_deadline_the_best_that_has_arrived_answers_and_what_is_late_changes_nothing() -> (
    None
):
    world = World(DEADLINE)
    asked = world.score(wine())
    world.reply("tree", asked["tree"], "5")
    world.reply("mlp", asked["mlp"], "4")
    assert world.answers() == []
    world.pass_time(20)
    columns = world.answer(1)
    assert columns.policy is not None
    assert columns.model.name == "mlp"
    assert columns.policy.is_fallback(0)
    assert columns.policy.slack_seconds == pytest.approx(0)
    world.reply("forest", asked["forest"], "6")
    assert world.answers() == []
    assert world.is_empty()


def test_when_nothing_has_arrived_by_the_deadline_the_first_answer_is_better_than_none() -> None:
    world = World(DEADLINE)
    asked = world.score(wine(), ms=1000)
    world.pass_time(25)
    assert world.answers() == []
    world.reply("tree", asked["tree"], "5")
    columns = world.answer(1)
    assert columns.policy is not None
    assert columns.policy.slack_seconds == pytest.approx(-0.005)


def test_slots_are_told_how_long_they_have_and_the_fallback_as_long_as_the_asker_waits() -> None:
    asked = World(DEADLINE).score(wine(), ms=1000)
    budgets = {name: send.envelope.budget_ms for name, send in asked.items()}
    assert budgets == {"forest": 20, "mlp": 20, "tree": 950}


def test_a_slot_that_dies_costs_no_answer() -> None:
    world = World(MAJORITY)
    asked = world.score(wine(), wine())
    assert world.core.closed(PEERS["mlp"]) == "mlp"
    world.reply("forest", asked["forest"], "5", "6")
    world.reply("tree", asked["tree"], "5", "6")
    columns = world.answer(2)
    assert columns.policy is not None
    assert labels(columns) == ["5", "6"]
    assert columns.policy.slots[1].state is SlotState.FAILED


def test_a_batch_that_all_slots_die_under_is_asked_again_when_one_is_back() -> None:
    world = World(MAJORITY)
    world.score(wine())
    for name in MAJORITY["slots"]:
        world.core.closed(PEERS[name])
    assert world.answers() == []
    world.core.slot_up("forest", PEERS["forest"])
    asked = world.asked()
    world.reply("forest", asked["forest"], "5")
    assert labels(world.answer(1)) == ["5"]


def test_a_batch_that_kills_all_slots_again_and_again_is_failed() -> None:
    world = World({"policy": "latest", "slots": ["forest"]})
    world.score(wine())
    for _ in range(FATAL_ATTEMPTS):
        world.core.closed(PEERS["forest"])
        world.core.slot_up("forest", PEERS["forest"])
    assert world.failure() == FailureCode.INTERNAL
    assert world.is_empty()


def test_without_any_slot_a_batch_waits_and_is_given_up_in_the_end() -> None:
    world = World(LATEST)
    world.core.closed(PEERS[""])
    world.score(wine())
    world.pass_time(MOST_SECONDS * 1000)
    assert world.failure() == FailureCode.DEADLINE_EXCEEDED


def test_a_policy_that_cannot_be_made_is_told_to_all_until_there_is_another() -> None:
    world = World(None)
    world.score_only(wine())
    assert world.answers() == []
    world.core.cannot_play("there is no policy 'referee'")
    assert world.failure() == FailureCode.UNAVAILABLE
    world.score_only(wine())
    assert world.failure() == FailureCode.UNAVAILABLE
    world.play(MAJORITY, position=2)
    world.core.cannot_play("there is no policy 'referee'")  # the one in force goes on
    assert set(world.score(wine())) == {"forest", "mlp", "tree"}


def test_a_slot_that_answers_nothing_is_not_asked_for_more_than_it_can_hold() -> None:
    world = World(DEADLINE)
    for _ in range(WINDOW):
        asked = world.score(wine())
        world.reply("mlp", asked["mlp"], "5")
        world.reply("tree", asked["tree"], "5")
        world.pass_time(21)
    asked = world.score(wine())
    assert "forest" not in asked
    world.reply("mlp", asked["mlp"], "5")
    assert len(world.answers()) == WINDOW + 1  # it waits for nobody: the best one cannot come


def test_a_slot_that_hangs_is_told_of_so_that_it_can_be_ended() -> None:
    world = World(DEADLINE)
    asked = world.score(wine())
    world.reply("tree", asked["tree"], "5")
    world.pass_time(25_000)
    assert world.core.stuck() == [PEERS["forest"], PEERS["mlp"]]


def test_what_is_under_way_is_decided_by_the_policy_that_it_began_under() -> None:
    world = World(DEADLINE, position=1)
    before = world.score(wine())
    world.play(MAJORITY, position=2)
    after = world.score(wine())
    for asked in (before, after):
        world.reply("forest", asked["forest"], "5")
        world.reply("mlp", asked["mlp"], "5")
    first, second = world.answers()
    versions = [ScoredBatch.FromString(each.payload).policy.version for each in (first, second)]
    assert versions == [1, 2]


def test_the_only_slots_reply_goes_through_and_says_of_which_policy_it_is() -> None:
    world = World(LATEST, position=3)
    asked = world.score(wine(), wine())
    world.reply("", asked[""], "5", "x")
    columns = world.answer(2)
    assert columns.policy is not None
    assert (columns.policy.policy, columns.policy.version) == ("latest", 3)
    assert columns.policy.slot_of(0) is columns.policy.slots[0]
    assert list(columns.failures) == [1]
    assert world.is_empty()


@pytest.mark.parametrize("name", ["forest", "mlp", "tree"])
def test_a_slot_that_is_asked_by_name_answers_alone(name: str) -> None:
    world = World(canary(share=0.5) | {"shadows": ["tree"]})
    asked = world.score(wine(), wine(10), slot=name)
    assert list(asked) == [name]
    world.reply(name, asked[name], "5", "6")
    columns = world.answer(2)
    assert (labels(columns), columns.model.name, columns.policy) == (["5", "6"], name, None)
    assert world.core.state_json()["policy"]["usage"] == 0
    assert world.is_empty()


def test_a_slot_that_is_asked_by_name_and_not_there_is_waited_for() -> None:
    world = World(DEADLINE)
    world.core.closed(PEERS["tree"])
    assert world.score(wine(), slot="tree") == {}
    world.core.slot_up("tree", PEERS["tree"])
    asked = world.asked()
    assert list(asked) == ["tree"]
    world.refuse(asked["tree"], FailureCode.NO_MODEL)
    assert world.failure() == FailureCode.NO_MODEL
    world.score_only(wine(), slot="beech")
    assert world.failure() == FailureCode.NOT_FOUND


@pytest.mark.parametrize("document", [LATEST, MAJORITY])
def test_each_slots_own_answer_is_told_when_it_is_asked_for(document: dict[str, Any]) -> None:
    world = World(document)
    for name, send in world.score(wine(), explain=True).items():
        world.reply(name, send, "5")
    report = world.answer(1).policy
    assert report is not None
    told = [each.answer for each in report.slots if each.state is SlotState.ARRIVED]
    assert told
    assert all(each is not None and labels(each) == ["5"] for each in told)


def test_a_shadow_is_asked_and_never_answers() -> None:
    world = World({"policy": "latest", "slots": ["forest"], "shadows": ["mlp"]})
    asked = world.score(wine())
    world.reply("mlp", asked["mlp"], "6")
    assert world.answers() == []
    world.reply("forest", asked["forest"], "5")
    columns = world.answer(1)
    assert columns.policy is not None
    assert labels(columns) == ["5"]
    assert [each.shadow for each in columns.policy.slots] == [False, True]


def test_what_a_shadow_says_is_told_too_when_it_is_asked_for() -> None:
    world = World({"policy": "latest", "slots": ["forest"], "shadows": ["mlp"]})
    asked = world.score(wine(), explain=True)
    world.reply("mlp", asked["mlp"], "6")
    world.reply("forest", asked["forest"], "5")
    report = world.answer(1).policy
    assert report is not None
    told = report.slots[1].answer
    assert told is not None
    assert labels(told) == ["6"]


def test_a_shadow_that_is_late_is_compared_all_the_same() -> None:
    world = World({"policy": "latest", "slots": ["forest"], "shadows": ["mlp"]})
    asked = world.score(wine())
    world.reply("forest", asked["forest"], "5")
    world.reply("mlp", asked["mlp"], "6")
    [pair] = world.core.comparison_json()["pairs"]
    assert (pair["records"], pair["agreements"]) == (1, 0)


def canary(**options: Any) -> dict[str, Any]:
    return {"policy": "canary", "slots": ["forest", "mlp"], "options": options}


def test_a_canary_is_asked_for_its_own_records_only() -> None:
    world = World(canary(share=0.5, by="alcohol"))
    records = [wine(number) for number in range(1, 21)]
    asked = world.score(*records)
    own = decode_records(asked["mlp"].payload, asked["mlp"].envelope.count)
    assert 0 < len(own) < 20
    world.reply("forest", asked["forest"], *["5"] * 20)
    world.reply("mlp", asked["mlp"], *["6"] * len(own))
    columns = world.answer(20)
    assert labels(columns) == ["6" if record in own else "5" for record in records]
    assert columns.policy is not None
    rows = columns.policy.slots[1].rows
    assert rows is not None
    assert [records[row] for row in rows.tolist()] == own


def test_without_the_reference_the_canary_answers_for_all_as_a_fallback() -> None:
    world = World(canary(share=0.5, by="alcohol"))
    world.core.closed(PEERS["forest"])
    asked = world.score(*[wine(number) for number in range(1, 21)])
    assert asked["mlp"].envelope.count == 20
    world.reply("mlp", asked["mlp"], *["6"] * 20)
    columns = world.answer(20)
    assert columns.policy is not None
    assert labels(columns) == ["6"] * 20
    assert columns.policy.fallback is not None
    assert 0 < columns.policy.fallback.sum() < 20


def test_records_that_only_a_slot_had_that_died_are_asked_again() -> None:
    world = World(canary(share=0.5, by="alcohol"))
    asked = world.score(*[wine(number) for number in range(1, 21)])
    own = asked["mlp"].envelope.count
    world.core.closed(PEERS["forest"])
    world.reply("mlp", asked["mlp"], *["6"] * own)
    assert world.answers() == []
    again = world.asked()
    world.reply("mlp", again["mlp"], *["6"] * 20)
    assert labels(world.answer(20)) == ["6"] * 20
    assert world.is_empty()


def test_records_that_only_a_slot_had_that_hangs_are_asked_of_another() -> None:
    world = World(canary(share=0.5, by="alcohol"))
    asked = world.score(*[wine(number) for number in range(1, 21)])
    own = asked["mlp"].envelope.count
    world.reply("mlp", asked["mlp"], *["6"] * own)
    world.pass_time(1000)
    assert world.answers() == []
    again = world.asked()
    assert list(again) == ["mlp"]
    world.reply("mlp", again["mlp"], *["6"] * 20)
    columns = world.answer(20)
    assert labels(columns) == ["6"] * 20
    assert columns.policy is not None
    assert columns.policy.slots[0].state is SlotState.LATE


def test_slots_that_no_policy_asks_any_more_are_let_go() -> None:
    world = World(DEADLINE)
    world.play(LATEST, position=2)
    world.pass_time(50)
    assert sorted(world.core.unneeded) == [PEERS[name] for name in DEADLINE["slots"]]


def test_a_canary_has_the_same_records_whatever_they_are_encoded_in() -> None:
    reader = FieldReader(WineRecord)
    messages = [wine(number / 2) for number in range(1, 50)]
    documents = [json.dumps({"alcohol": number / 2}).encode() for number in range(1, 50)]
    assert reader.texts(messages, "alcohol", json=False) == reader.texts(
        documents, "alcohol", json=True
    )


def test_a_canary_that_fails_is_rolled_back_and_gets_no_more_records() -> None:
    world = World(canary(share=1, records=10))
    asked = world.score(*[wine()] * 10)
    world.reply("forest", asked["forest"], *["5"] * 10)
    world.reply("mlp", asked["mlp"], *["6"] * 10)
    policy = world.core.policy
    assert policy is not None
    verdict = policy.verdict()
    assert verdict is not None
    assert verdict.decision.verdict is Verdict.ROLLED_BACK
    assert "10 of 10 answers differ" in verdict.decision.reason
    assert (verdict.settings.policy, verdict.settings.slots) == ("latest", ("forest",))
    assert list(world.score(wine())) == ["forest"]


def test_a_canary_that_keeps_to_its_limits_for_a_window_is_promoted_and_not_before() -> None:
    world = World(canary(share=1, records=10, windowSeconds=60))
    policy = world.core.policy
    assert policy is not None
    for _ in range(6):
        assert policy.verdict() is None
        asked = world.score(*[wine()] * 10)
        world.reply("forest", asked["forest"], *["5"] * 10)
        world.reply("mlp", asked["mlp"], *["5"] * 10)
        world.pass_time(10_000)
    verdict = policy.verdict()
    assert verdict is not None
    assert verdict.settings.slots == ("mlp",)


def test_an_input_is_archived_with_its_answer_if_the_policy_wants_that() -> None:
    world = World({"policy": "latest", "slots": ["forest"], "decoy": True})
    asked = world.score(wine())
    world.reply("forest", asked["forest"], "5")
    [answer] = world.answers()
    assert world.archived == [answer.payload]


def test_nothing_is_kept_of_a_batch_whose_asker_is_gone() -> None:
    world = World(MAJORITY)
    asked = world.score(wine(), peer=2)
    world.core.closed(2)
    for name, send in asked.items():
        world.reply(name, send, "5")
    assert world.core.outbox == []
    assert world.is_empty()


def test_garbage_from_a_slot_is_its_failure_alone() -> None:
    world = World(MAJORITY)
    asked = world.score(wine(), wine())
    world.reply("forest", asked["forest"], "5")  # one outcome for two records
    world.reply("mlp", asked["mlp"], "5", "5")
    world.reply("tree", asked["tree"], "5", "5")
    columns = world.answer(2)
    assert columns.policy is not None
    assert columns.policy.slots[0].state is SlotState.FAILED


def test_a_batch_whose_lengths_do_not_fit_is_refused() -> None:
    world = World(canary(share=0.5, by="alcohol"))
    envelope = Envelope(kind=Envelope.SCORE, correlation_id=1, count=3)
    world.core.score(ROUTER, Frame(envelope, b"\0\0"))
    assert world.failure() == FailureCode.INVALID_REQUEST


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["score", "reply", "refuse", "die", "up", "wait", "change"]),
        st.integers(0, 2),
    ),
    max_size=40,
)


@given(EVENTS)
@settings(max_examples=200, deadline=None)
def test_whatever_happens_each_batch_is_answered_once_and_forgotten(
    events: list[tuple[str, int]],
) -> None:
    world = World(DEADLINE)
    names = ["forest", "mlp", "tree"]
    waiting: list[tuple[str, Send]] = []
    sent = position = 0
    for what, number in events:
        name = names[number]
        if what == "score":
            world.score_only(wine())
            sent += 1
        elif what == "die":
            world.core.closed(PEERS[name])
        elif what == "up" and name in world.core.wanted():
            world.core.slot_up(name, PEERS[name])
        elif what == "wait":
            world.pass_time(15)
        elif what == "change":
            position += 1
            world.play([DEADLINE, MAJORITY][position % 2], position=position)
        waiting += world.asked().items()
        if what == "reply" and waiting:
            slot, send = waiting.pop(number % len(waiting))
            world.reply(slot, send, "5")
        elif what == "refuse" and waiting:
            world.refuse(waiting.pop(number % len(waiting))[1], FailureCode.OVERLOADED)
    world.pass_time(MOST_SECONDS * 1000)
    world.pass_time(MOST_SECONDS * 1000)
    numbers = [each.envelope.correlation_id for each in world.answers()]
    assert sorted(numbers) == list(range(1, sent + 1))
    assert world.is_empty()
