"""How names are compared, those of features in records, models and configuration alike."""

import re

_TENSOR_INDEX = re.compile(r":\d+$")  # TensorFlow writes `alcohol:0`

# `confidence`, `model_confidence`, `ModelConfidence2`: a word of its own, and the last one.
_CONFIDENCE = re.compile(r"(^|[^a-z]|(?-i:(?<=[a-z])(?=C)))confidence[^a-z]*$", re.IGNORECASE)


def normalise(name: str) -> str:
    """Return the form in which all spellings of one name are equal.

    `fixed acidity`, `fixed_acidity`, `fixedAcidity` and `fixed_acidity:0` are one name: only
    letters and digits count, and case does not. A name without any is compared as it is.
    """
    bare = _TENSOR_INDEX.sub("", name)
    return "".join(filter(str.isalnum, bare)).casefold() or name


def public_name(output: str) -> str:
    """Return what users call an output: TensorFlow's first tensor of `margin`, `margin:0`, is that."""
    return output.removesuffix(":0")


def is_confidence(output: str) -> bool:
    """Tell whether an output is called like a confidence: `Confidence`, `model_confidence:0`."""
    return _CONFIDENCE.search(output) is not None
