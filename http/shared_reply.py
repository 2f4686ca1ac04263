"""Replies to batches in which several requests have their records."""

from dataclasses import replace

from repertory.actors.batch import PolicyReport, ScoredRecords


def mixes(reply: ScoredRecords) -> bool:
    """Return whether an outcome may depend on the records beside it in the batch.

    A policy of several slots merges what these say (labels, probabilities) batch by batch.
    """
    policy = reply.policy
    if policy is None:
        return False
    only = policy.slots[0]
    return len(policy.slots) > 1 or only.rows is not None or only.answer is not None


def cut(reply: ScoredRecords, part: slice) -> ScoredRecords:
    """Return what a reply that mixes nothing says of some of its records."""
    policy = None if reply.policy is None else _cut_report(reply.policy, part)
    return ScoredRecords(reply.model, reply.outcomes[part], policy)


def _cut_report(report: PolicyReport, part: slice) -> PolicyReport:
    chosen, fallback = report.chosen, report.fallback
    return replace(
        report,
        chosen=None if chosen is None else chosen[part],
        fallback=None if fallback is None else fallback[part],
    )
