"""Engines that are installed only if asked for."""

import importlib.util

from repertory.errors import ModelRejected


def require(*modules: str, extra: str) -> None:
    """Refuse a model whose engine is not installed. Raises ModelRejected that says how to mend it."""
    absent = [module for module in modules if importlib.util.find_spec(module) is None]
    if absent:
        raise ModelRejected(
            f"{', '.join(absent)} is not installed here: pip install 'repertory[{extra}]'"
        )
