"""Requests of any kind to a node, and what it answers, also when it refuses."""

import json
import urllib.error
import urllib.request
from typing import Any

from repertory.actors.local_node import LocalNode


def request(node: LocalNode, path: str, body: bytes, content_type: str) -> tuple[int, Any]:
    """Post a body; return the status and the JSON of the reply."""
    headers = {"Content-Type": content_type}
    ask = urllib.request.Request(node.url + path, data=body, headers=headers)
    try:
        with urllib.request.urlopen(ask, timeout=60) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)
