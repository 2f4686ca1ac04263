"""Base64 text, decoded into a file."""

import binascii

from repertory.errors import InvalidRequest
from repertory.http.spool import SpoolFile

# A multiple of four characters, so that each piece decodes by itself; small beside the text.
PIECE = 4 * 1024 * 1024


def decode_base64(text: str, file: SpoolFile) -> None:
    """Append what `text` stands for; line breaks are allowed. Raises InvalidRequest."""
    if not text.isascii():
        raise InvalidRequest("data is not base64: it has characters beyond ASCII")
    if "\n" in text:
        text = "".join(text.split())
    for start in range(0, len(text), PIECE):
        piece = text[start : start + PIECE]
        if "=" in piece and start + PIECE < len(text):
            raise InvalidRequest("data is not base64: it goes on after its padding")
        try:
            file.write(binascii.a2b_base64(piece, strict_mode=True))
        except binascii.Error as error:
            raise InvalidRequest(f"data is not base64: {error}") from None
