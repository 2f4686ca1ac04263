"""Repertory serves machine-learning models inside a stream, with actors."""

from importlib.metadata import version

__version__ = version("repertory")
