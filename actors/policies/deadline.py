"""The best slot that answers in time."""

from repertory.actors.policies.answers import Answers
from repertory.actors.policies.choice import Batch, Choice, best_ranked


class BestInTime:
    """The answer of the best-ranked slot that has one when the time is over.

    A record is done as soon as no better slot can answer any more. With one slot, this is the
    newest model's answer.
    """

    def asks(self, batch: Batch) -> None:
        """Ask all slots for all records."""

    def choose(self, answers: Answers) -> Choice:
        """Return the best-ranked slots. All but the first one are fallbacks."""
        slots = best_ranked(answers)
        return Choice(slots, fallback=slots > 0)
