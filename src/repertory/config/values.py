"""What values of keys look like, and what a section is."""

import base64
import re
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

MEBIBYTE = 1024 * 1024
# Longest path that the kernel takes for a UNIX socket.
SOCKET_PATH_BYTES = 107
# Ports that several nodes use if nothing else is said: of doors, and of Thespian's admins.
DOOR_PORT = 5590
ADMIN_PORT = 5591
SECRET_CHARACTERS = 16
PUBLIC_KEY_BYTES = 32  # of Ed25519

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
Name = Annotated[str, Field(pattern=f"^{_NAME.pattern}$")]
Port = Annotated[int, Field(ge=0, le=65535)]  # 0: any free port

# Numbers of one vector feature; what models see of it is as many features.
WIDEST_VECTOR = 65536
_VECTOR = re.compile(r"(\w+)\[([0-9]+)\]", re.ASCII)

_SERVER = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})")
SECRET = re.compile(r"password|secret|token|\.pem|_key$")
MASK = "**********"


def servers(text: str) -> str:
    servers = [each.strip() for each in text.split(",")]
    for each in servers:
        if _SERVER.fullmatch(each) is None:
            raise ValueError(f"{each!r} is not host:port")
    return ",".join(servers)


def public_key(text: str) -> str:
    algorithm, _, key = text.partition(":")
    try:
        raw = base64.b64decode(key, validate=True)
    except ValueError:  # no base64, or no ASCII
        raw = b""
    if algorithm != "ed25519" or len(raw) != PUBLIC_KEY_BYTES:
        raise ValueError("not a public key as `repertory sign --new-key` prints it, ed25519:…")
    return text


def message_class(text: str) -> str:
    if re.fullmatch(r"[\w.]+:\w+", text) is None:
        raise ValueError("a message is written module:Class")
    return text


def split_feature(text: str) -> tuple[str, int | None]:
    """Return the field that a feature names, and its width if it is a vector: `pixels[784]`.

    Raises ValueError, saying how it is written.
    """
    if "[" not in text and "]" not in text:
        return text, None
    found = _VECTOR.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r}: a vector is written field[width], such as pixels[784]")
    # Digits are counted first: turning millions of them into a number takes minutes.
    width = int(found[2]) if len(found[2]) <= 5 else 0
    if not 1 <= width <= WIDEST_VECTOR:
        raise ValueError(f"{text!r}: the width of a vector is 1 to {WIDEST_VECTOR}")
    return found[1], width


def distinct(features: tuple[str, ...]) -> tuple[str, ...]:
    fields = [split_feature(each)[0] for each in features]
    for each in fields:
        if fields.count(each) > 1:
            raise ValueError(f"{each!r} is listed {fields.count(each)} times")
    return features


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _empty_section(cls, value: Any) -> Any:
        return {} if value is None else value  # all of its keys are commented out
