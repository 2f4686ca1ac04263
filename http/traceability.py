"""The headers by which a reply of any protocol says which model version it is of."""

from collections.abc import Mapping
from urllib.parse import quote

from repertory.actors.batch import ModelRef

# Of printable ASCII all is sent as it is but the character that begins an escape.
_AS_IT_IS = bytes(range(0x20, 0x7F)).decode().replace("%", "")


def model_headers(model: ModelRef) -> Mapping[str, str]:
    """Return the headers that name a model version; characters that no header holds are %XX."""
    return {
        "X-Repertory-Model": quote(model.name, safe=_AS_IT_IS),
        "X-Repertory-Version": str(model.version),
        "X-Repertory-Sha256": model.sha256,
    }
