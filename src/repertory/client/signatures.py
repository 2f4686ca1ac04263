"""A model's signature, as `repertory sign` writes it: a line of text, in a file beside the model."""

from os import PathLike
from pathlib import Path

from repertory.errors import InvalidRequest

_BEGINS = "ed25519:"
# Far more than any has.
_MOST_BYTES = 4096


def signature_of(
    model: str | PathLike[str] | bytes, given: str | PathLike[str] | None
) -> str | None:
    """Return the signature that was given, or that is in a file; None when there is none.

    Without any, that is `MODEL.sig` beside a model that is a file, if it is there. Raises OSError,
    and InvalidRequest when a file holds no text.
    """
    if isinstance(given, str) and given.startswith(_BEGINS):
        return given.strip()
    if given is not None:
        return _read(Path(given))
    if isinstance(model, bytes):
        return None
    beside = Path(model).with_name(f"{Path(model).name}.sig")
    return _read(beside) if beside.is_file() else None


def _read(path: Path) -> str:
    with path.open("rb") as file:
        content = file.read(_MOST_BYTES)
    try:
        return content.decode().strip()
    except UnicodeDecodeError:
        raise InvalidRequest(f"{path} is no signature: it is not text") from None
