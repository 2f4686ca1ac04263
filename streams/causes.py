"""What librdkafka says of an error, without what changes from one second to the next. Pure."""

import re

# "sasl_plaintext://127.0.0.1:9092/bootstrap: Connect to … failed: … (after 1ms in state CONNECT)"
_CLIENT = re.compile(r"^(?:\w+://)?\S+:\d+/\S+: ")
_STATE = re.compile(r" \(after \d+ms in state [^()]*(?:\(s\)[^()]*)?\)")


def cause_of(text: str) -> str:
    """Return an error's text without which of its threads says so, and after how long."""
    return _STATE.sub("", _CLIENT.sub("", text))
