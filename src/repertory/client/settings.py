"""Where a client's nodes are, and how it proves who it is."""

import os
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from os import PathLike
from typing import Self
from urllib.parse import urlsplit

URL_VARIABLE, TOKEN_VARIABLE = "REPERTORY_URL", "REPERTORY_TOKEN"
LOCAL_NODE = "http://127.0.0.1:5500"
# As long as a node allows a record by default; and longer than it takes to check a model.
TIMEOUT, PUBLISH_TIMEOUT = 30.0, 120.0
RETRIES = 5

Certificate = str | PathLike[str] | tuple[str | PathLike[str], str | PathLike[str]]


@dataclass(frozen=True, slots=True)
class Settings:
    """What all calls of a client have in common."""

    urls: tuple[str, ...]
    headers: dict[str, str] = field(repr=False)
    tls: ssl.SSLContext | None

    @classmethod
    def of(
        cls,
        urls: str | Sequence[str] | None,
        token: str | None,
        *,
        verify: bool,
        ca: str | PathLike[str] | None,
        cert: Certificate | None,
    ) -> Self:
        """Return settings; what is None is looked up in the environment. Raises ValueError."""
        if urls is None:
            urls = os.environ.get(URL_VARIABLE, LOCAL_NODE)
        addresses = tuple(map(node_url, [urls] if isinstance(urls, str) else urls))
        if not addresses:
            raise ValueError("at least one address of a node is needed")
        token = os.environ.get(TOKEN_VARIABLE) if token is None else token
        if token and not (token.isascii() and token.isprintable() and " " not in token):
            raise ValueError("the token has characters that no header can hold")  # not shown
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        secure = any(each.startswith("https:") for each in addresses)
        if not secure and (ca or cert):
            raise ValueError("ca and cert are of use with https:// addresses only")
        return cls(addresses, headers, _tls(verify, ca, cert) if secure else None)


def node_url(text: str) -> str:
    """Return a node's address with its scheme and no slash at the end. Raises ValueError."""
    url = (text if "://" in text else f"http://{text}").rstrip("/")
    try:
        parts = urlsplit(url)
        whole = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 80)
    except ValueError:  # of a port that is no number, and of brackets
        whole = False
    if not whole or parts.query or parts.fragment or parts.username:
        raise ValueError(f"{text!r} is not an address such as {LOCAL_NODE}")
    return url


def _tls(verify: bool, ca: str | PathLike[str] | None, cert: Certificate | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if cert is not None:
        context.load_cert_chain(*(cert if isinstance(cert, tuple) else (cert,)))
    return context
