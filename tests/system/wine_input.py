"""The input of the delivery tests: numbered wines, one in so many of them poison, each once."""

import time
from threading import Event

from confluent_kafka import KafkaError, Message, Producer

from repertory.protos.winerecord_pb2 import WineRecord
from repertory.streams.record import Headers

POISON_EVERY = 500
_TICK_SECONDS = 0.02


def value_of(number: int) -> bytes:
    """Return the value of a record: a wine, or now and then no message at all."""
    if poison_code(number) == "invalid_record":
        return b"\xff poison %d" % number
    return WineRecord(
        pH=3 + number % 100 / 100, density=0.99, alcohol=10, residual_sugar=number
    ).SerializeToString()


def headers_of(number: int) -> Headers:
    """Return the headers of a record; most have none."""
    if poison_code(number) == "wrong_data_type":
        return [("dataType", b"beer")]
    return [("trace", b"%d" % number)] if number % 3 == 0 else []


def poison_code(number: int) -> str | None:
    """Return the code of the dead letter that a record is to become; None for a good one."""
    place, rest = divmod(number, POISON_EVERY)
    if rest != POISON_EVERY // 2:
        return None
    return "wrong_data_type" if place % 2 else "invalid_record"


class WineInput:
    """Produces records 0, 1, 2, … at a steady rate; the number is the key. Idempotent, acks=all."""

    def __init__(self, brokers: str, topic: str, *, rate: float) -> None:
        self._topic, self._rate = topic, rate
        self._producer = Producer(
            {
                "bootstrap.servers": brokers,
                "enable.idempotence": True,
                "acks": "all",
                "message.timeout.ms": 0,  # the broker comes back
                "linger.ms": 5,
                "reconnect.backoff.max.ms": 500,
                "delivery.report.only.error": True,
                "log_level": 2,
            }
        )
        self.errors: list[str] = []
        self.produced = 0
        self.seconds = 0.0

    def run(self, count: int, enough: Event) -> None:
        """Produce at least `count` records, and until `enough` is set; return when all are taken."""
        began = time.monotonic()
        while self.produced < count or not enough.is_set():
            due = int((time.monotonic() - began) * self._rate)
            while self.produced < due:
                self._produce(self.produced)
                self.produced += 1
            self._producer.poll(_TICK_SECONDS)
            time.sleep(_TICK_SECONDS)
        self._producer.flush()
        self.seconds = time.monotonic() - began

    def _produce(self, number: int) -> None:
        while True:
            try:
                self._producer.produce(
                    self._topic,
                    value_of(number),
                    str(number),
                    headers=headers_of(number),
                    on_delivery=self._delivered,
                )
            except BufferError:  # the broker is away for long
                self._producer.poll(0.1)
            else:
                return

    def _delivered(self, error: KafkaError | None, _: Message) -> None:
        if error is not None:
            self.errors.append(error.str())
