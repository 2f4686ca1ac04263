"""Repertory serves machine-learning models inside a stream, with actors."""


def __getattr__(name: str) -> str:
    # Looked up when it is asked for: it would be a tenth of what an actor needs to start.
    if name == "__version__":
        from importlib.metadata import version

        return version("repertory")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
