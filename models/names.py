"""How the names of features are compared, in records, models and configuration alike."""

import re

_TENSOR_INDEX = re.compile(r":\d+$")  # TensorFlow writes `alcohol:0`


def normalise(name: str) -> str:
    """Return the form in which all spellings of one name are equal.

    `fixed acidity`, `fixed_acidity`, `fixedAcidity` and `fixed_acidity:0` are one name: only
    letters and digits count, and case does not. A name without any is compared as it is.
    """
    bare = _TENSOR_INDEX.sub("", name)
    return "".join(filter(str.isalnum, bare)).casefold() or name
