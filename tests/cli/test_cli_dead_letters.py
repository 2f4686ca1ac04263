"""`repertory dead-letters`, on letters that the Kafka face's own code wrote to a real broker."""

import itertools
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import orjson
import pytest
import yaml
from click.testing import CliRunner, Result
from confluent_kafka import Consumer, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

from repertory.actors.batch import ModelRef
from repertory.actors.local_node import wait_until
from repertory.cli import main
from repertory.protos.modeldescriptor_pb2 import ModelDescriptor
from repertory.protos.winerecord_pb2 import WineRecord
from repertory.streams.dead_letter_topic import READ_AT_MOST
from repertory.streams.dead_letters import Place, letter_headers, letter_value
from repertory.streams.devbroker.process import BrokerProcess
from repertory.streams.record import Headers

ROOT = Path(__file__).parent.parent.parent
PARTITIONS = 3
FOREST = ModelRef("forest", 3, "ab" * 32)
FLOOD = 30_000
_numbers = itertools.count()


@dataclass
class Sent:
    """A record, as it was and as it came back."""

    partition: int
    key: bytes | None
    value: bytes | None
    timestamp: int
    headers: Headers

    @classmethod
    def of(cls, message: Message) -> "Sent":
        return cls(
            message.partition() or 0,
            message.key(),
            message.value(),
            message.timestamp()[1],
            cast(Headers, message.headers() or []),
        )


class Graveyard:
    """Topics of a test's own, what is written to them, and the command."""

    def __init__(self, servers: str, folder: Path) -> None:
        self.servers = servers
        self._prefix = f"t{next(_numbers)}"
        self._admin = AdminClient({"bootstrap.servers": servers})
        self._producer = Producer({"bootstrap.servers": servers, "linger.ms": 0})
        self.config = folder / "cluster.yaml"
        document = yaml.safe_load((ROOT / "cluster.yaml").read_text())
        document["kafka"] = {
            "bootstrap_servers": servers,
            "group_id": self._prefix,
            "dead_letters_topic": self.topic("dead"),
            "models_topic": self.topic("models"),
        }
        document["data_types"]["wine"]["topics"] = [self.topic("wine")]
        self.config.write_text(yaml.safe_dump(document))

    def topic(self, name: str) -> str:
        return f"{self._prefix}-{name}"

    def create(self, *names: str) -> None:
        new = [NewTopic(self.topic(name), PARTITIONS) for name in names]
        for future in self._admin.create_topics(new).values():
            future.result()

    def bury(self, value: bytes | None = b"\xffrubbish", *, limit: int = 10_000, **why: Any) -> str:
        """Write a dead letter as the face does, and return its id."""
        partition = why.pop("partition", 0)
        own = why.pop("headers", [("trace", b"1")])
        key = why.pop("key", b"key")
        why = {
            "code": "invalid_record",
            "reason": "it is cut off",
            "source": Place(self.topic("wine"), 1, 17),
            "data_type": "wine",
            "model": None,
            "failed_ms": int(time.time() * 1000),
        } | why
        kept, headers = letter_value(value, letter_headers(own, **why), limit=limit, key=key)
        return self.write("dead", kept, partition=partition, headers=headers, key=key)

    def write(self, name: str, value: bytes | None, *, partition: int = 0, **what: Any) -> str:
        """Write a message with the time 1,000 and return its partition and offset."""
        reports: list[Message] = []
        self._producer.produce(
            self.topic(name),
            value,
            partition=partition,
            timestamp=1000,
            on_delivery=lambda _, message: reports.append(message),
            **what,
        )
        assert self._producer.flush(10) == 0
        return f"{reports[0].partition()}/{reports[0].offset()}"

    def flood(self) -> int:
        """Write many letters, and return how many."""
        place = Place(self.topic("wine"), 0, 0)
        why: dict[str, Any] = {"code": "internal", "reason": "", "source": place}
        headers = letter_headers(None, **why, data_type="wine", model=None, failed_ms=1)
        for number in range(FLOOD):
            self._producer.produce(self.topic("dead"), b"", headers=headers, partition=number % 2)
        assert self._producer.flush(20) == 0
        return FLOOD

    def count(self, name: str) -> int:
        """Return how many messages a topic has."""
        places = {
            TopicPartition(self.topic(name), n): OffsetSpec.latest() for n in range(PARTITIONS)
        }
        return sum(each.result().offset for each in self._admin.list_offsets(places).values())

    def run(self, *arguments: str) -> Result:
        command = ["dead-letters", arguments[0], "--config", str(self.config), *arguments[1:]]
        return CliRunner().invoke(main, command, catch_exceptions=False)

    def ok(self, *arguments: str) -> str:
        result = self.run(*arguments)
        assert (result.exit_code, result.stderr) == (0, "")
        return result.stdout

    def fails(self, *arguments: str, code: int = 1) -> str:
        result = self.run(*arguments)
        assert result.exit_code == code, result.output
        return result.stderr

    def read(self, name: str) -> list[Sent]:
        """Return all messages of a topic."""
        consumer = Consumer({"bootstrap.servers": self.servers, "group.id": "reader"})
        try:
            places = [TopicPartition(self.topic(name), number, 0) for number in range(PARTITIONS)]
            ends = [consumer.get_watermark_offsets(place, timeout=10)[1] for place in places]
            consumer.assign(places)
            found: list[Sent] = []
            deadline = time.monotonic() + 10
            while len(found) < sum(ends):
                assert time.monotonic() < deadline
                message = consumer.poll(1)
                if message is not None and message.error() is None:
                    found.append(Sent.of(message))
        finally:
            consumer.close()
        return found


@pytest.fixture(scope="module")
def servers() -> Iterator[str]:
    with BrokerProcess(options=["--partitions", "0"]) as broker:
        yield broker.bootstrap_servers


@pytest.fixture
def graveyard(servers: str, tmp_path: Path) -> Graveyard:
    made = Graveyard(servers, tmp_path)
    made.create("dead", "wine", "models")
    return made


def ids(listed: str) -> list[str]:
    return [line.split()[0] for line in listed.splitlines()[1:-1]]


def test_a_list_tells_of_each_letter_in_the_order_of_their_failures(graveyard: Graveyard) -> None:
    late = graveyard.bury(model=FOREST, reason="not\na\x1b[31m number", code="scoring_failed")
    early = graveyard.bury(partition=2, failed_ms=int(time.time() * 1000) - 1000)
    listed = graveyard.ok("list")
    assert ids(listed) == [early, late] == ["2/0", "0/0"]
    row = listed.splitlines()[2].split()
    assert row[2:6] == ["wine", "scoring_failed", f"{graveyard.topic('wine')}/1/17", "forest"]
    assert listed.splitlines()[2].endswith("not a [31m number")
    assert listed.splitlines()[-1] == "2 dead letters: scoring_failed 1, invalid_record 1"


def test_a_list_shows_the_newest_and_counts_all(graveyard: Graveyard) -> None:
    for number in range(5):
        graveyard.bury(partition=number % PARTITIONS, failed_ms=1000 + number)
    listed = graveyard.ok("list", "--limit", "2")
    assert ids(listed) == ["0/1", "1/1"]
    assert listed.endswith("5 dead letters, the newest 2 shown: invalid_record 5\n")


def test_an_empty_topic_has_no_letters(graveyard: Graveyard) -> None:
    assert graveyard.ok("list") == "0 dead letters\n"


@pytest.mark.parametrize(
    ("option", "value", "found"),
    [
        ("--code", "rejected", {"a"}),
        ("--data-type", "beer", {"b"}),
        ("--since", "1h", {"a", "b"}),
        ("--since", "1971-01-01", {"a", "b"}),
        ("--topic", "elsewhere", {"c"}),
        ("--topic", "nowhere", set()),
    ],
)
def test_letters_can_be_chosen(
    option: str, value: str, found: set[str], graveyard: Graveyard
) -> None:
    named = {
        graveyard.bury(code="rejected"): "a",
        graveyard.bury(data_type="beer"): "b",
        graveyard.bury(source=Place("elsewhere", 0, 0), failed_ms=1000): "c",
    }
    listed = orjson.loads(graveyard.ok("list", option, value, "--json"))
    assert {named[each["id"]] for each in listed["dead_letters"]} == found
    assert listed["count"] == len(found)


def test_json_tells_all_but_the_content(graveyard: Graveyard) -> None:
    graveyard.bury(b"12345", model=FOREST, failed_ms=2000)
    assert orjson.loads(graveyard.ok("list", "--json")) == {
        "dead_letters": [
            {
                "id": "0/0",
                "failed": 2000,
                "dataType": "wine",
                "code": "invalid_record",
                "reason": "it is cut off",
                "topic": graveyard.topic("wine"),
                "partition": 1,
                "offset": 17,
                "timestamp": 1000,
                "model": {"name": "forest", "version": 3, "sha256": "ab" * 32},
                "attempts": 0,
                "bytes": 5,
            }
        ],
        "codes": {"invalid_record": 1},
        "count": 1,
    }


def test_only_what_is_committed_and_is_a_letter_is_listed(graveyard: Graveyard) -> None:
    kept = graveyard.bury()
    graveyard.write("dead", b"of another program", headers=[("a", b"b")])
    with unfinished(graveyard):
        assert ids(graveyard.ok("list")) == [kept]
    graveyard.bury()
    assert ids(graveyard.ok("list")) == [kept, "0/6"]


@contextmanager
def unfinished(graveyard: Graveyard) -> Iterator[None]:
    """Have a letter of an aborted transaction, and behind it one of a transaction under way."""
    producer = Producer({"bootstrap.servers": graveyard.servers, "transactional.id": "face"})
    producer.init_transactions(10)
    for last in (False, True):
        producer.begin_transaction()
        why: Headers = [("dead-letter-code", b"internal"), ("dead-letter-topic", b"wine")]
        place: Headers = [("dead-letter-partition", b"0"), ("dead-letter-offset", b"0")]
        producer.produce(graveyard.topic("dead"), b"", partition=0, headers=why + place)
        assert producer.flush(10) == 0
        if last:
            yield
        producer.abort_transaction()


def test_a_record_is_shown_as_its_message_with_all_that_it_brought(graveyard: Graveyard) -> None:
    graveyard.bury(WineRecord(pH=3.5).SerializeToString(), model=FOREST, key=b"\xff")
    shown = graveyard.ok("show", "0/0")
    assert "  reason      it is cut off\n" in shown
    assert "  header trace  1\n" in shown
    assert "  key         0xff\n" in shown
    assert f"forest version 3, {'ab' * 32}\n" in shown
    assert shown.endswith("9 bytes: WineRecord as text\n    pH: 3.5\n")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (b'{"colour": "\xe2\x82\xac\\u001b"}', ("JSON", '"colour": "€\\u001b"')),
        (b"\xffrubbish", ("000000  ff 72 75 62", ".rubbish")),
        (b"\xff" * 3000, ("… and 1,976 bytes more",)),
        (None, ("no value",)),
        (b"", ("0 bytes",)),
    ],
)
def test_what_is_not_its_message_is_shown_otherwise(
    value: bytes | None, words: tuple[str, ...], graveyard: Graveyard
) -> None:
    graveyard.bury(value)
    shown = graveyard.ok("show", "0/0")
    assert [word for word in words if word not in shown] == [], shown


def test_a_refused_model_is_shown_without_its_megabytes(graveyard: Graveyard) -> None:
    model = ModelDescriptor(name="m", dataType="beer", data=bytes(9000)).SerializeToString()
    place = Place(graveyard.topic("models"), 0, 0)
    graveyard.bury(model, source=place, data_type="", code="rejected")
    shown = graveyard.ok("show", "0/0")
    assert 'dataType: "beer"' in shown
    assert len(shown) < 2000


def test_the_bytes_of_a_record_can_be_had(graveyard: Graveyard, tmp_path: Path) -> None:
    graveyard.bury(b"\xff\x00")
    graveyard.ok("show", "0/0", "--value", str(tmp_path / "record"))
    assert (tmp_path / "record").read_bytes() == b"\xff\x00"
    assert graveyard.run("show", "0/0", "--value", "-").stdout_bytes == b"\xff\x00"


@pytest.mark.parametrize(
    ("letter", "words", "code"),
    [
        ("0/1", "0/1: no such dead letter; the partition has offsets 0 to 0", 1),
        ("1/0", "1/0: no such dead letter; the partition has nothing", 1),
        ("9/0", "has the partitions 0 to 2", 1),
        ("17", "'17' is no id of a dead letter: PARTITION/OFFSET", 2),
    ],
)
def test_an_id_of_no_letter_is_told(
    letter: str, words: str, code: int, graveyard: Graveyard
) -> None:
    graveyard.bury()
    for command in ("show", "replay"):
        assert words in graveyard.fails(command, letter, code=code)


def test_a_replay_brings_a_record_back_as_it_was(graveyard: Graveyard) -> None:
    for partition in range(PARTITIONS):
        graveyard.bury(b"%d" % partition, source=Place(graveyard.topic("wine"), partition, 5))
    assert graveyard.ok("replay", "--all") == (
        f"sent 3 dead letters: 3 to {graveyard.topic('wine')}\n"
    )
    own: Headers = [("trace", b"1"), ("dead-letter-attempts", b"1")]
    assert sorted(graveyard.read("wine"), key=lambda each: each.partition) == [
        Sent(partition, b"key", b"%d" % partition, 1000, own) for partition in range(PARTITIONS)
    ]


def test_a_record_that_fails_again_says_how_often_it_was_replayed(graveyard: Graveyard) -> None:
    graveyard.bury()
    for _ in range(2):
        graveyard.ok("replay", "--all")
        graveyard.bury(headers=graveyard.read("wine")[-1].headers)
    listed = orjson.loads(graveyard.ok("list", "--json"))["dead_letters"]
    assert [each["attempts"] for each in listed] == [0, 1, 2]


def test_what_was_replayed_is_not_sent_twice_unless_it_is_said(graveyard: Graveyard) -> None:
    first, _ = graveyard.bury(), graveyard.bury()
    assert graveyard.ok("replay", first).startswith("sent 1 ")
    assert graveyard.ok("replay", "--all").startswith("sent 1 ")
    assert graveyard.ok("replay", first) == (
        "sent 0 dead letters\npassed over 1 that were replayed before; --again sends them too\n"
    )
    assert graveyard.ok("replay", "--all") == "sent 0 dead letters\n"
    graveyard.bury()
    assert graveyard.ok("replay", "--all").startswith("sent 1 ")
    assert graveyard.ok("replay", "--all", "--again").startswith("sent 3 ")


def test_chosen_letters_and_then_the_rest_are_each_sent_once(graveyard: Graveyard) -> None:
    for number in range(40):
        code = ("invalid_record", "scoring_failed")[number % 2]
        graveyard.bury(b"%d" % number, partition=number % PARTITIONS, code=code)
    for choice in (("--code", "scoring_failed"), ("--data-type", "wine"), ("--all",)):
        graveyard.ok("replay", *choice)
    values = [int(each.value or b"") for each in graveyard.read("wine")]
    assert sorted(values) == list(range(40))


@pytest.mark.parametrize(
    ("end", "most_again"), [(signal.SIGINT, 0), (signal.SIGKILL, READ_AT_MOST)]
)
def test_a_replay_that_is_ended_goes_on_where_it_was(
    end: signal.Signals, most_again: int, graveyard: Graveyard, command: Path
) -> None:
    count = graveyard.flood()
    arguments = ["dead-letters", "replay", "--all", "--config", str(graveyard.config)]
    replaying = subprocess.Popen([command, *arguments], stderr=subprocess.PIPE, text=True)
    wait_until(lambda: graveyard.count("wine") > 0, "some are sent")
    replaying.send_signal(end)
    _, said = replaying.communicate(timeout=30)
    assert end == signal.SIGKILL or "the same command goes on from here" in said
    assert 0 < graveyard.count("wine") < count
    graveyard.ok("replay", "--all")
    assert count <= graveyard.count("wine") <= count + most_again


def test_a_dry_run_sends_and_remembers_nothing(graveyard: Graveyard) -> None:
    graveyard.bury()
    for _ in range(2):
        told = graveyard.ok("replay", "--since", "1h", "--dry-run")
        assert told == f"would send 1 dead letter: 1 to {graveyard.topic('wine')}\n"
    assert graveyard.read("wine") == []


def test_a_replay_to_another_topic_goes_by_key_and_is_remembered_apart(
    graveyard: Graveyard,
) -> None:
    graveyard.create("other")
    for _ in range(8):
        graveyard.bury()
    for target in ("other", "other", "wine"):
        graveyard.ok("replay", "--all", "--to", graveyard.topic(target))
    assert len({each.partition for each in graveyard.read("other")}) == 1
    assert [len(graveyard.read(name)) for name in ("other", "wine")] == [8, 8]


def test_records_can_be_given_the_time_of_now(graveyard: Graveyard) -> None:
    began = int(time.time() * 1000)
    graveyard.bury()
    graveyard.ok("replay", "--all", "--now")
    assert graveyard.read("wine")[0].timestamp >= began


def test_a_value_that_was_left_out_is_taken_from_where_the_record_is(graveyard: Graveyard) -> None:
    large, headers = bytes(2000), [("trace", bytes(900))]
    graveyard.write("wine", large, key=b"key", headers=headers)
    place = Place(graveyard.topic("wine"), 0, 0)
    graveyard.bury(large, headers=headers, source=place, limit=1000)
    assert [each.value for each in graveyard.read("dead")] == [None]
    assert "2,000 bytes" in graveyard.ok("show", "0/0")
    graveyard.ok("replay", "--all")
    again = graveyard.read("wine")[-1]
    assert again.value == large
    assert again.headers == [*headers, ("dead-letter-attempts", b"1")]


def test_a_record_that_is_gone_cannot_be_replayed_and_is_named(graveyard: Graveyard) -> None:
    graveyard.write("wine", bytes(1999), key=b"key")  # of a topic that was made anew
    graveyard.bury(bytes(2000), source=Place(graveyard.topic("wine"), 0, 0), limit=500)
    graveyard.bury(bytes(2000), limit=500)
    graveyard.bury(b"a", source=Place("gone", 0, 0))
    graveyard.bury(b"b")
    result = graveyard.run("replay", "--all")
    assert result.exit_code == 1
    assert "0/0 cannot be replayed: its value was too large for" in result.stderr
    assert "0/1 cannot be replayed: its value was too large for" in result.stderr
    assert "0/2 cannot be replayed: there is no topic 'gone' any more; --to" in result.stderr
    assert [each.value for each in graveyard.read("wine")[1:]] == [b"b"]
    assert "too large" in graveyard.fails("show", "0/1", "--value", "-")


def test_a_message_that_is_no_letter_is_shown_and_not_replayed(graveyard: Graveyard) -> None:
    graveyard.write("dead", b"of another program")
    assert "no dead letter of Repertory's" in graveyard.ok("show", "0/0")
    assert "no dead letter of Repertory's" in graveyard.fails("replay", "0/0")
    assert graveyard.ok("replay", "--all") == "sent 0 dead letters\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "say which: IDs, --topic, --data-type, --code, --since, or --all"),
        (("1/2", "--all"), "either IDs or options"),
        (("--all", "--code", "internal"), "--all takes all"),
        (("--since", "yesterday"), "'yesterday' is neither a time such as 90s"),
    ],
)
def test_a_replay_is_told_clearly_what_to_send(
    arguments: tuple[str, ...], words: str, graveyard: Graveyard
) -> None:
    assert words in graveyard.fails("replay", *arguments, code=2)


def test_topics_that_do_not_exist_are_named(servers: str, tmp_path: Path) -> None:
    graveyard = Graveyard(servers, tmp_path)
    assert f"there is no topic '{graveyard.topic('dead')}' at" in graveyard.fails("list")
    graveyard.create("dead")
    assert "there is no topic 'x' at" in graveyard.fails("replay", "--all", "--to", "x")


def test_brokers_that_do_not_answer_are_told(
    graveyard: Graveyard, free_ports: Callable[[], int]
) -> None:
    nobody = f"127.0.0.1:{free_ports()}"
    said = graveyard.fails("list", "--kafka", nobody)
    assert f"no broker answers at {nobody}" in said
    assert "Connection refused" in said


def test_credentials_that_are_refused_are_told(graveyard: Graveyard) -> None:
    document = yaml.safe_load(graveyard.config.read_text())
    document["kafka"]["properties"] = {"security.protocol": "ssl"}
    graveyard.config.write_text(yaml.safe_dump(document))
    assert "SSL" in graveyard.fails("list")
