"""Repertory's client: `from repertory.client import Client, AsyncClient`.

It needs neither actors nor models, and loads numpy and pandas only where they are used.
"""

from repertory.client.async_client import AsyncClient
from repertory.client.documents import (
    Health,
    OnStage,
    Policy,
    Published,
    Serving,
    Stage,
    State,
    Version,
)
from repertory.client.failures import AccessDenied, Rejected, Unreachable
from repertory.client.scores import Model, Score, Scores, ScoresFailed
from repertory.client.sync_client import Client
from repertory.errors import (
    DeadlineExceeded,
    InternalError,
    InvalidRequest,
    NoModel,
    Overloaded,
    RequestFailed,
    Unavailable,
    UnknownDataType,
)

__all__ = [
    "AccessDenied",
    "AsyncClient",
    "Client",
    "DeadlineExceeded",
    "Health",
    "InternalError",
    "InvalidRequest",
    "Model",
    "NoModel",
    "OnStage",
    "Overloaded",
    "Policy",
    "Published",
    "Rejected",
    "RequestFailed",
    "Score",
    "Scores",
    "ScoresFailed",
    "Serving",
    "Stage",
    "State",
    "Unavailable",
    "UnknownDataType",
    "Unreachable",
    "Version",
]
