"""What is refused is logged once, and not at each new attempt."""

from collections import OrderedDict

import structlog

# Who is remembered; a stranger may come from ever new addresses.
_REMEMBERED = 256

log = structlog.get_logger(__name__)


class Refusals:
    """Who was refused last for what reason."""

    def __init__(self, event: str) -> None:
        self._event = event
        self._reasons: OrderedDict[str, str] = OrderedDict()

    def tell(self, who: str, reason: str, **more: object) -> None:
        """Log a refusal, unless it is the last one again."""
        if self._reasons.get(who) != reason:
            log.warning(self._event, who=who, why=reason, **more)
        self._reasons[who] = reason
        self._reasons.move_to_end(who)
        while len(self._reasons) > _REMEMBERED:
            self._reasons.popitem(last=False)

    def forget(self, who: str) -> None:
        """Take it that all is well with somebody: what comes next is logged."""
        self._reasons.pop(who, None)
