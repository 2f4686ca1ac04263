"""A member of a consumer group as a process of its own, so that a test can kill it.

usage: member.py BOOTSTRAP TOPIC CONFIG-AS-JSON. Prints an event a line, as JSON; ends cleanly when
its standard input is closed.
"""

import json
import select
import sys
from typing import Any

from confluent_kafka import Consumer


def say(event: str, value: Any) -> None:
    """Print an event."""
    print(json.dumps([event, value]), flush=True)


def main(bootstrap: str, topic: str, config: str) -> None:
    """Consume until the standard input ends."""
    consumer = Consumer({"bootstrap.servers": bootstrap, **json.loads(config)})
    consumer.subscribe(
        [topic], on_revoke=lambda _, partitions: say("revoked", [p.partition for p in partitions])
    )
    assigned = None
    while not select.select([sys.stdin], [], [], 0)[0]:
        message = consumer.poll(0.05)
        now = sorted(partition.partition for partition in consumer.assignment())
        if now != assigned:
            say("assigned", now)
            assigned = now
        if message is not None:
            if message.error():
                say("error", str(message.error()))
            else:
                say("message", (message.value() or b"").decode())
    consumer.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
