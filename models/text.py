"""Sentences out of what engines say."""

# The longest part of an engine's message that helps anyone.
_LONGEST = 300


def first_line(error: BaseException) -> str:
    """Return the part of an engine's message that is fit for a sentence."""
    lines = str(error).strip().splitlines()
    text = lines[0] if lines else type(error).__name__
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
