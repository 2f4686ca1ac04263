"""What is news to one that watches a data type."""

from repertory.client.documents import OnStage
from repertory.errors import (
    DeadlineExceeded,
    NoModel,
    Overloaded,
    RequestFailed,
    Unavailable,
)

# What is over by itself: a watch outlives the nodes that it asks.
_PASSING = (Unavailable, Overloaded, DeadlineExceeded)


class Watched:
    """What was seen last of a data type."""

    def __init__(self, data_type: str) -> None:
        self._nothing = OnStage(data_type)
        self._last: OnStage | None = None

    def after(self, error: RequestFailed) -> OnStage | None:
        """Return what a failed question tells, None for nothing. Raises it when it will stay."""
        if isinstance(error, NoModel):
            return self._nothing
        if isinstance(error, _PASSING):
            return None
        raise error

    def is_news(self, found: OnStage) -> bool:
        """Whether this is the first that is seen, or not what was seen last."""
        news = found != self._last
        self._last = found
        return news
