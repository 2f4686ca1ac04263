"""The three forms in which a model is uploaded, each turned into the keeper's question."""

import asyncio
import mmap
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson
from aiohttp import BodyPartReader, MultipartReader, hdrs, web

from repertory.errors import InvalidRequest
from repertory.http.base64_file import decode_base64
from repertory.http.record_body import PROTOBUF_TYPES
from repertory.http.spool import Spool, SpoolFile

# At 150 KB/s the largest model that is allowed by default arrives in this time.
UPLOAD_SECONDS = 1800.0
# Of a name or a description.
FIELD_BYTES = 64 * 1024
CHUNK_BYTES = 256 * 1024
# Base64 writes three bytes as four characters; some writers break its lines.
BASE64_OVERHEAD = 1.4

FIELDS = {
    "dataType": "data_type",
    "name": "name",
    "description": "description",
    "modelType": "model_type",
    "signature": "signature",
}
# Of one thread: a large model takes a second, and four times its size in memory.
_PARSER = ThreadPoolExecutor(1, thread_name_prefix="json")

_KNOWN = "dataType, name, description, modelType, signature"
_FORMS = (
    "send multipart/form-data (file, dataType, name), application/x-protobuf (a ModelDescriptor),"
    " or application/json (dataType, name, and data in base64 or location)"
)

Question = dict[str, Any]
Understand = Callable[[dict[str, Any], SpoolFile], Question]


async def read_upload(request: web.Request, spool: Spool) -> Question:
    """Stream a body into the spool, and return what to ask the keeper.

    Raises InvalidRequest, and HTTP errors for what is too large or too slow.
    """
    return await _in_time(_read(request, spool))


async def read_json(request: web.Request, spool: Spool, understand: Understand) -> Question:
    """Stream a body of JSON into the spool, and return what `understand` makes of the document.

    It runs in a thread, and may write a model to the file that it is given. Raises what it raises,
    InvalidRequest, and HTTP errors for what is too large or too slow.
    """
    return await _in_time(_json(request, spool, understand))


async def _in_time(reading: Awaitable[Question]) -> Question:
    try:
        async with asyncio.timeout(UPLOAD_SECONDS):
            return await reading
    except TimeoutError:
        text = f"the model did not arrive within {UPLOAD_SECONDS:g} s"
        raise web.HTTPRequestTimeout(text=text) from None


async def _read(request: web.Request, spool: Spool) -> Question:
    kind = request.content_type
    if kind.startswith("multipart/"):
        return _checked(await _multipart(request, spool))
    if hdrs.CONTENT_TYPE in request.headers and kind in PROTOBUF_TYPES:
        file = spool.open()
        await _stream(request, file)
        return {"descriptor_file": str(file.path)}
    return _checked(await _json(request, spool, _understood))


def _checked(question: Question) -> Question:
    for field in ("dataType", "name"):
        if not question.get(FIELDS[field]):
            raise InvalidRequest(f"{field} is missing")
    if not question.get("content_file") and not question.get("location"):
        raise InvalidRequest(f"there is no model in this request: {_FORMS}")
    return question


async def _stream(request: web.Request, file: SpoolFile) -> None:
    if (request.content_length or 0) > file.left:
        raise file.refusal()
    async for chunk in request.content.iter_chunked(CHUNK_BYTES):
        file.write(chunk)


# --- multipart/form-data


async def _multipart(request: web.Request, spool: Spool) -> Question:
    """Read the parts, in whatever order they come.

    The reader takes the end of the body for the end of a part; only the closing boundary tells
    that nothing is cut off.
    """
    question: Question = {}
    try:
        reader = await request.multipart()
        while (part := await reader.next()) is not None:
            if isinstance(part, MultipartReader):
                raise InvalidRequest("a form inside a form is not understood")
            await _part(part, question, spool)
    except (ValueError, AssertionError, RuntimeError) as error:
        # So the reader reports what is not well-formed.
        raise InvalidRequest(f"the form is malformed, or cut short: {error}") from None
    return question


async def _part(part: BodyPartReader, question: Question, spool: Spool) -> None:
    name = part.name
    if name is None:
        raise InvalidRequest("a part of the form has no name: is the form cut short?")
    key = "content_file" if name == "file" else FIELDS.get(name)
    if key is None:
        raise InvalidRequest(f"there is no form field {name!r}; there are: file, {_KNOWN}")
    if key in question:
        raise InvalidRequest(f"{name} is given twice")
    _check_transfer_encoding(part, name)
    if name == "file":
        file = spool.open()
        while chunk := await part.read_chunk(CHUNK_BYTES):
            file.write(chunk)
        question[key] = str(file.path)
    else:
        question[key] = await _text(part, name)


def _check_transfer_encoding(part: BodyPartReader, name: str) -> None:
    encoding = part.headers.get(hdrs.CONTENT_TRANSFER_ENCODING, "binary").lower()
    if encoding not in ("binary", "8bit", "7bit"):
        raise InvalidRequest(f"{name} has the transfer encoding {encoding!r}: send it as it is")


async def _text(part: BodyPartReader, name: str) -> str:
    data = bytearray()
    while chunk := await part.read_chunk():
        data += chunk
        if len(data) > FIELD_BYTES:
            raise InvalidRequest(f"{name} is longer than {FIELD_BYTES} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"{name} is not UTF-8: {error}") from None


# --- JSON


async def _json(request: web.Request, spool: Spool, understand: Understand) -> Question:
    body, content = spool.open(overhead=BASE64_OVERHEAD), spool.open()
    await _stream(request, body)
    # A request that is given up meanwhile must not remove the files before the thread is done.
    loop = asyncio.get_running_loop()
    parsing = loop.run_in_executor(_PARSER, _parse, body.path, content, understand)
    try:
        return await asyncio.shield(parsing)
    except asyncio.CancelledError:
        await asyncio.wait((parsing,))
        raise


def _parse(path: Path, content: SpoolFile, understand: Understand) -> Question:
    document = _load(path)
    if not isinstance(document, dict):
        raise InvalidRequest(f"a JSON object is due, not {document!r:.60}")
    return understand(document, content)


def _understood(document: dict[str, Any], content: SpoolFile) -> Question:
    question: Question = {}
    for name, value in document.items():
        if name not in (*FIELDS, "data", "location"):
            raise InvalidRequest(f"there is no key {name!r}; there are: {_KNOWN}, data, location")
        if value is not None and not isinstance(value, str):
            raise InvalidRequest(f"{name} must be a string, not {value!r:.60}")
        if name in FIELDS:
            question[FIELDS[name]] = value
    data, location = document.get("data"), document.get("location")
    if data is not None and location is not None:
        raise InvalidRequest("give data or location, not both")
    if data is not None:
        decode_base64(data, content)
        question["content_file"] = str(content.path)
    question["location"] = location
    return question


def _load(path: Path) -> Any:
    if not path.stat().st_size:
        raise InvalidRequest(f"the body is empty: {_FORMS}")
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        memoryview(mapped) as view,
    ):
        try:
            return orjson.loads(view)
        except orjson.JSONDecodeError as error:
            why = str(error)
    raise InvalidRequest(f"the body is not JSON: {why}; {_FORMS}")
