"""Tokens: how they are made, and the file that tells them again."""

import contextlib
import fcntl
import hashlib
import hmac
import os
import secrets
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from repertory.config import Role
from repertory.errors import ConfigError

# Those who look for secrets in repositories and logs know it by this.
PREFIX = "repertory_"
TOKEN_BYTES = 32
ID_CHARACTERS = 12
# So long a token counts that was revoked.
LOOK_SECONDS = 1.0


class Token(BaseModel):
    """What is kept of a token, which is not enough to use it.

    Its plain SHA-256: a slow, salted hash makes up for passwords that can be guessed; nobody
    guesses 256 random bits, and it would have to be computed with each request.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    roles: tuple[Role, ...] = Field(min_length=1)
    data_types: tuple[str, ...] = ()  # all, if empty
    created: AwareDatetime
    expires: AwareDatetime | None = None

    @property
    def id(self) -> str:
        """What it is called by in logs, and to revoke it."""
        return self.sha256[:ID_CHARACTERS]

    @property
    def expired(self) -> bool:
        """Whether its time is over."""
        return self.expires is not None and self.expires <= datetime.now(UTC)


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    tokens: tuple[Token, ...]


def make_token(
    roles: tuple[Role, ...],
    *,
    name: str = "",
    data_types: tuple[str, ...] = (),
    lasts: timedelta | None = None,
) -> tuple[str, Token]:
    """Return a new token, and what is to be kept of it."""
    secret, now = PREFIX + secrets.token_urlsafe(TOKEN_BYTES), datetime.now(UTC)
    kept = Token(
        name=name,
        sha256=_digest(secret),
        roles=roles,
        data_types=data_types,
        created=now,
        expires=None if lasts is None else now + lasts,
    )
    return secret, kept


class TokenFile:
    """The file of tokens. Several processes may change it at the same time."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def exists(self) -> bool:
        """Whether there is one: it may be empty, and nobody gets in."""
        return self.path.exists()

    def read(self) -> tuple[Token, ...]:
        """Return the tokens; none when there is no file. Raises ConfigError for what is none."""
        try:
            return _Document.model_validate_json(self.path.read_bytes()).tokens
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise ConfigError(f"{self.path}: cannot be read: {error.strerror}") from error
        except ValidationError as error:
            fault = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, fault["loc"]))
            raise ConfigError(
                f"{self.path}: this is no file of `repertory token`: {where} {fault['msg']}"
            ) from None

    def add(self, token: Token) -> None:
        """Add a token. Raises ConfigError."""
        with self._changed():
            self._write((*self.read(), token))

    def remove(self, name: str) -> list[Token]:
        """Remove the tokens of this id or name, and return them. Raises ConfigError."""
        with self._changed():
            tokens = self.read()
            gone = [each for each in tokens if name and name in (each.id, each.name)]
            if gone:
                self._write(tuple(each for each in tokens if each not in gone))
        return gone

    @contextlib.contextmanager
    def _changed(self) -> Iterator[None]:
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(
                self.path.with_name(f"{self.path.name}.lock"), os.O_CREAT | os.O_RDWR, 0o600
            )
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
            finally:
                os.close(lock)
        except OSError as error:
            raise ConfigError(f"{self.path}: cannot be written: {error.strerror}") from error

    def _write(self, tokens: tuple[Token, ...]) -> None:
        """Put a whole file in its place: a face reads the old one or the new one."""
        new = self.path.with_name(f"{self.path.name}.new")
        new.unlink(missing_ok=True)
        file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(file, "wb") as opened:
            opened.write(_Document(tokens=tokens).model_dump_json(indent=2).encode() + b"\n")
            opened.flush()
            os.fsync(opened.fileno())
        new.rename(self.path)


class TokenBook:
    """The tokens of a file as they are now: it is read again when it has changed."""

    def __init__(self, file: TokenFile, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Read the file. Raises ConfigError."""
        self._file = file
        self._clock = clock
        self._looked = clock()
        self._seen = self._stamp()
        self._tokens = _by_id(file.read())
        self.in_force = file.exists

    def refresh(self) -> None:
        """Read the file again if it has changed, which is looked at once a second.

        Raises ConfigError; then the old ones count. Once there was a file, `in_force` it stays:
        nobody opens a node by removing a file.
        """
        now = self._clock()
        if now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        self._read_again()

    def find(self, secret: str) -> Token | None:
        """Return the token that this is, expired or not; None if it is none.

        For one that is not known the file is looked at: it may be new. Raises ConfigError.
        """
        found = self._found(secret)
        if found is None:
            self._read_again()
            found = self._found(secret)
        return found

    def _read_again(self) -> None:
        stamp = self._stamp()
        if stamp == self._seen:
            return
        self._seen = stamp
        self._tokens = _by_id(self._file.read())
        self.in_force |= stamp is not None

    def _found(self, secret: str) -> Token | None:
        digest = _digest(secret)
        found = self._tokens.get(digest[:ID_CHARACTERS])
        # What the time tells of a digest would not tell the token; but it tells nothing anyway.
        same = hmac.compare_digest(digest, found.sha256 if found else "0" * len(digest))
        return found if same else None

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            found = self._file.path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size


def _by_id(tokens: tuple[Token, ...]) -> dict[str, Token]:
    return {each.id: each for each in tokens}


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="surrogateescape")).hexdigest()
