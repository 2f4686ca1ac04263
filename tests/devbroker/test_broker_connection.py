"""Connections: what strangers may send, who may log in, when the broker says no."""

import asyncio
import ssl
import struct
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from confluent_kafka import Producer
from tests.devbroker.conftest import PATIENCE, make_batch, values

from repertory.errors import ConfigError
from repertory.streams.devbroker.broker import DevBroker
from repertory.streams.devbroker.codec import Reader, Writer
from repertory.streams.devbroker.handlers.table import HANDLERS
from repertory.streams.devbroker.protocol import ApiKey
from repertory.streams.devbroker.settings import BrokerSettings
from repertory.streams.devbroker.versions import SUPPORTED

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
async def brokers() -> AsyncIterator[list[DevBroker]]:
    """Return a list; the brokers in it are stopped after the test."""
    started: list[DevBroker] = []
    yield started
    for broker in started:
        await broker.stop()


async def start(brokers: list[DevBroker], settings: BrokerSettings | None = None) -> DevBroker:
    broker = DevBroker(settings or BrokerSettings())
    brokers.append(broker)
    await broker.start()
    return broker


async def connect(broker: DevBroker) -> Stream:
    return await asyncio.open_connection("127.0.0.1", broker.port)


def frame(key: int, version: int, body: bytes = b"") -> bytes:
    request = struct.pack(">hhih", key, version, 7, 2) + b"me" + body
    return struct.pack(">i", len(request)) + request


async def ask(stream: Stream, key: int, version: int, body: bytes = b"") -> Reader:
    reader, writer = stream
    writer.write(frame(key, version, body))
    async with asyncio.timeout(PATIENCE):
        size, correlation = struct.unpack(">ii", await reader.readexactly(8))
        assert correlation == 7
        return Reader(await reader.readexactly(size - 4))


async def hang_up(stream: Stream) -> None:
    stream[1].close()
    await stream[1].wait_closed()


async def is_closed(stream: Stream) -> bool:
    """Whether the broker closes the connection, without an answer."""
    async with asyncio.timeout(PATIENCE):
        try:
            return await stream[0].read() == b""
        except ConnectionResetError:
            return True
        finally:
            stream[1].close()


async def is_served(broker: DevBroker) -> bool:
    """Whether a new connection gets an answer."""
    stream = await connect(broker)
    try:
        await ask(stream, ApiKey.API_VERSIONS, 0)
    except (asyncio.IncompleteReadError, ConnectionError):
        return False
    finally:
        stream[1].close()
    return True


GARBAGE = [
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(40),
    b"\x00\x00\x00\x00",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    struct.pack(">i", 8) + bytes([0, 99, 0, 0, 0, 0, 0, 1]),
    frame(ApiKey.METADATA, 99),
    frame(ApiKey.METADATA, 8, b"\x7f\xff\xff\xff"),
    frame(ApiKey.PRODUCE, 8, b"\x00\x09"),
    frame(ApiKey.JOIN_GROUP, 5, b"\x00\x01\xff"),
    frame(ApiKey.TXN_OFFSET_COMMIT, 3, b"\xff" * 20),
]


@pytest.mark.parametrize("garbage", GARBAGE)
async def test_garbage_closes_its_connection_and_no_other(
    brokers: list[DevBroker], garbage: bytes
) -> None:
    broker = await start(brokers)
    good, bad = await connect(broker), await connect(broker)
    await ask(good, ApiKey.API_VERSIONS, 0)
    bad[1].write(garbage)
    assert await is_closed(bad)
    await ask(good, ApiKey.API_VERSIONS, 0)
    await hang_up(good)


async def test_a_request_cut_in_the_middle_does_no_harm(brokers: list[DevBroker]) -> None:
    broker = await start(brokers)
    whole = frame(ApiKey.METADATA, 1, struct.pack(">i", -1))
    for size in range(len(whole)):
        _, writer = stream = await connect(broker)
        writer.write(whole[:size])
        await hang_up(stream)
    stream = await connect(broker)
    await ask(stream, ApiKey.METADATA, 1, struct.pack(">i", -1))
    await hang_up(stream)


async def test_a_request_that_is_too_large_is_refused_before_it_is_read(
    brokers: list[DevBroker], caplog: pytest.LogCaptureFixture
) -> None:
    broker = await start(brokers, BrokerSettings(max_request_bytes=1000))
    stream = await connect(broker)
    stream[1].write(struct.pack(">i", 1001))
    assert await is_closed(stream)
    assert "1001 bytes" in caplog.text


async def test_versions_are_told_to_clients_that_are_too_new(brokers: list[DevBroker]) -> None:
    stream = await connect(await start(brokers))
    answer = await ask(stream, ApiKey.API_VERSIONS, 4)
    assert answer.int16() == 35
    listed = answer.array(lambda: (answer.int16(), answer.int16(), answer.int16()))
    assert (ApiKey.FETCH, 4, 11) in listed
    assert answer.left == 0
    await hang_up(stream)


def test_every_request_that_is_announced_has_a_handler() -> None:
    assert SUPPORTED.keys() == HANDLERS.keys() == set(ApiKey)


async def test_no_more_connections_than_allowed(brokers: list[DevBroker]) -> None:
    broker = await start(brokers, BrokerSettings(max_connections=2))
    first, second = await connect(broker), await connect(broker)
    await ask(first, ApiKey.API_VERSIONS, 0)
    await ask(second, ApiKey.API_VERSIONS, 0)
    assert await is_closed(await connect(broker))
    await hang_up(first)
    async with asyncio.timeout(PATIENCE):
        while not await is_served(broker):
            pass
    await ask(second, ApiKey.API_VERSIONS, 0)
    await hang_up(second)


def produce_request(acks: int, batch: bytes, topic: str = "t") -> bytes:
    writer = Writer().string(None).int16(acks).int32(1000)
    writer.array(
        [topic], lambda name: writer.string(name).array([0], lambda i: writer.int32(i).blob(batch))
    )
    return writer.to_bytes()


async def produced(stream: Stream, acks: int, batch: bytes) -> tuple[int, int, str | None]:
    """Return error, offset and message of a produce request."""
    answer = await ask(stream, ApiKey.PRODUCE, 8, produce_request(acks, batch))
    assert (answer.int32(), answer.string(), answer.int32(), answer.int32()) == (1, "t", 1, 0)
    error, offset = answer.int16(), answer.int64()
    answer.int64(), answer.int64(), answer.array(answer.int32)
    return error, offset, answer.nullable_string()


async def topic_t(stream: Stream) -> None:
    body = Writer().array(["t"], lambda name: None).to_bytes()[:4] + b"\x00\x01t"
    await ask(stream, ApiKey.METADATA, 1, body)


async def test_what_is_wrong_with_a_batch_is_said(brokers: list[DevBroker]) -> None:
    stream = await connect(await start(brokers))
    await topic_t(stream)
    good = make_batch(values("a"))
    assert await produced(stream, -1, good) == (0, 0, None)
    assert await produced(stream, 1, good) == (0, 1, None)
    flipped = good[:-1] + bytes([good[-1] ^ 1])
    assert await produced(stream, -1, flipped) == (2, -1, "the batch does not match its checksum")
    error, _, message = await produced(stream, 5, good)
    assert (error, message) == (21, "acks=5; -1, 0 and 1 are allowed")
    await hang_up(stream)


async def fetched(stream: Stream, *, isolation: int, offset: int = 0, version: int = 11) -> bytes:
    """Return the batches that a fetch of partition 0 brings."""
    writer = Writer().int32(-1).int32(100).int32(1).int32(1 << 20).int8(isolation)
    writer.int32(0).int32(-1)
    writer.array(["t"], writer.string)
    writer.int32(1).int32(0).int32(-1).int64(offset).int64(-1).int32(1 << 20)
    writer.int32(0).string("")
    answer = await ask(stream, ApiKey.FETCH, version, writer.to_bytes())
    assert [answer.int32(), answer.int16(), answer.int32(), answer.int32()] == [0, 0, 0, 1]
    assert (answer.string(), answer.int32(), answer.int32(), answer.int16()) == ("t", 1, 0, 0)
    answer.int64(), answer.int64(), answer.int64()
    answer.array(lambda: (answer.int64(), answer.int64())), answer.int32()
    return bytes(answer.blob())


async def test_a_reader_of_committed_records_is_sent_no_others(brokers: list[DevBroker]) -> None:
    stream = await connect(await start(brokers))
    await topic_t(stream)
    identity = await ask(
        stream, ApiKey.INIT_PRODUCER_ID, 1, Writer().string("x").int32(60_000).to_bytes()
    )
    assert (identity.int32(), identity.int16()) == (0, 0)
    producer = (identity.int64(), identity.int16())
    enlist = Writer().string("x").int64(producer[0]).int16(producer[1])
    enlist.array(["t"], lambda name: enlist.string(name).array([0], enlist.int32))
    await ask(stream, ApiKey.ADD_PARTITIONS_TO_TXN, 0, enlist.to_bytes())
    await produced(stream, -1, make_batch(values("plain")))
    batch = make_batch(values("open"), producer=(*producer, 0), attributes=0x10)
    assert (await produced(stream, -1, batch))[0] == 0
    everything = await fetched(stream, isolation=0)
    assert b"open" in everything
    assert everything.startswith(await fetched(stream, isolation=1))
    assert b"open" not in await fetched(stream, isolation=1)
    assert await fetched(stream, isolation=1, offset=1) == b""
    await hang_up(stream)


async def test_checksums_need_not_be_checked(brokers: list[DevBroker]) -> None:
    stream = await connect(await start(brokers, BrokerSettings(verify_checksums=False)))
    await topic_t(stream)
    good = make_batch(values("a"))
    assert await produced(stream, -1, good[:-1] + b"\x01") == (0, 0, None)
    await hang_up(stream)


async def test_a_producer_that_wants_no_answer_is_told_by_closing(
    brokers: list[DevBroker],
) -> None:
    broker = await start(brokers)
    stream = await connect(broker)
    await topic_t(stream)
    stream[1].write(frame(ApiKey.PRODUCE, 8, produce_request(0, make_batch(values("a")))))
    assert (await produced(stream, 1, make_batch(values("b"))))[1] == 1
    stream[1].write(frame(ApiKey.PRODUCE, 8, produce_request(0, b"junk")))
    assert await is_closed(stream)


async def test_what_was_sent_before_hanging_up_is_stored(brokers: list[DevBroker]) -> None:
    broker = await start(brokers)
    stream = await connect(broker)
    await topic_t(stream)
    for _ in range(20):
        stream[1].write(frame(ApiKey.PRODUCE, 8, produce_request(0, make_batch(values("a")))))
    await hang_up(stream)
    stream = await connect(broker)
    async with asyncio.timeout(PATIENCE):
        while (await produced(stream, 1, make_batch(values("b"))))[1] < 20:
            await asyncio.sleep(0)
    await hang_up(stream)


async def test_only_those_who_log_in_are_served(brokers: list[DevBroker]) -> None:
    broker = await start(brokers, BrokerSettings(users={"ada": "secret"}))
    stranger = await connect(broker)
    stranger[1].write(frame(ApiKey.METADATA, 1, struct.pack(">i", -1)))
    assert await is_closed(stranger)
    stream = await connect(broker)
    await ask(stream, ApiKey.SASL_HANDSHAKE, 1, b"\x00\x05PLAIN")
    for password, error in ((b"wrong", 58), (b"secret", 0)):
        body = Writer().blob(b"\0ada\0" + password).to_bytes()
        assert (await ask(stream, ApiKey.SASL_AUTHENTICATE, 1, body)).int16() == error
    await ask(stream, ApiKey.METADATA, 1, struct.pack(">i", -1))
    await hang_up(stream)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Return a certificate for 127.0.0.1 with its key, in one file."""
    path = tmp_path / "broker.pem"
    subprocess.run(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 "
        "-subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 "
        f"-keyout {path} -out {path}.crt".split(),
        check=True,
        capture_output=True,
    )
    path.write_bytes(path.read_bytes() + Path(f"{path}.crt").read_bytes())
    return path


async def test_kafka_clients_log_in_over_tls(brokers: list[DevBroker], certificate: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    broker = await start(brokers, BrokerSettings(users={"ada": "secret"}, tls=context))
    producer = Producer(
        {
            "bootstrap.servers": broker.bootstrap_servers,
            "security.protocol": "sasl_ssl",
            "ssl.ca.location": f"{certificate}.crt",
            "sasl.mechanism": "PLAIN",
            "sasl.username": "ada",
            "sasl.password": "secret",
        }
    )
    errors: list[object] = []
    producer.produce("t", b"x", on_delivery=lambda error, _: errors.append(error))
    assert await asyncio.to_thread(producer.flush, PATIENCE) == 0
    assert errors == [None]


async def test_a_port_in_use_is_told_plainly(brokers: list[DevBroker]) -> None:
    broker = await start(brokers)
    with pytest.raises(ConfigError, match=f"127.0.0.1:{broker.port}.*choose another port"):
        await start(brokers, BrokerSettings(port=broker.port))


async def test_it_listens_on_loopback_and_leaves_nothing_behind(
    brokers: list[DevBroker],
) -> None:
    broker = await start(brokers)
    assert broker.bootstrap_servers == f"127.0.0.1:{broker.port}"
    folder = broker._temporary
    assert folder is not None
    assert folder.is_dir()
    stream = await connect(broker)
    await broker.stop()
    assert not folder.exists()
    assert await is_closed(stream)


async def test_two_brokers_cannot_share_a_folder(brokers: list[DevBroker], tmp_path: Path) -> None:
    first = await start(brokers, BrokerSettings(data_dir=tmp_path))
    with pytest.raises(ConfigError, match="another broker uses this data folder"):
        await start(brokers, BrokerSettings(data_dir=tmp_path))
    await first.stop()
    await start(brokers, BrokerSettings(data_dir=tmp_path))
