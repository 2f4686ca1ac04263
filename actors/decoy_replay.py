"""Scores archived inputs again, and compares."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from repertory.actors.decoy_answers import Answer, Comparison
from repertory.actors.decoy_rows import Rows
from repertory.actors.decoy_versions import Version, Versions, check_same
from repertory.models.model import Failed, Outcomes
from repertory.models.records import RecordDecoder


@dataclass(slots=True)
class Report:
    """What a replay found. `versions` are those that scored, each with its records."""

    comparison: Comparison = field(default_factory=Comparison)
    batches: int = 0
    records: int = 0
    oldest_us: int = 0
    newest_us: int = 0
    versions: Counter[str] = field(default_factory=Counter)


class _Group(NamedTuple):
    """Records of a batch that one version scores together; `wanted` of them are compared."""

    version: Version
    rows: Sequence[int]
    wanted: Sequence[int]


class Replayer:
    """Scores inputs again, in the groups in which they were given to the models.

    Without `model`, the version that answered a record scores it. The answers are compared with
    those that were given, or with those of `against`.
    """

    def __init__(
        self,
        versions: Versions,
        decoder: RecordDecoder,
        *,
        model: Version | None = None,
        against: Version | None = None,
    ) -> None:
        self._versions, self._decoder = versions, decoder
        self._model, self._against = model, against
        self.report = Report()

    def add(self, batch: Rows) -> None:
        """Replay a batch. Raises NotFound, ModelRejected or InvalidRequest."""
        report = self.report
        report.batches += 1
        report.records += len(batch)
        moment = batch.archived_us[0]
        report.oldest_us = min(report.oldest_us or moment, moment)
        report.newest_us = max(report.newest_us, moment)
        then = self._then(batch)
        compared = set()
        for group in self._groups(batch, self._model):
            now = self._score(batch, group)
            report.versions[str(group.version)] += len(group.wanted)
            for row in group.wanted:
                if row in then:
                    compared.add(row)
                    name = f"{batch.batch[row]}:{batch.row[row]}"
                    report.comparison.add(name, then[row], now[row])
        report.comparison.unanswered += len(batch) - len(compared)

    def _then(self, batch: Rows) -> dict[int, Answer]:
        """Return what the answers are compared with, but for records that nobody answered."""
        if self._against is None:
            return {row: answer_in(batch, row) for row in range(len(batch)) if answered(batch, row)}
        found: dict[int, Answer] = {}
        for group in self._groups(batch, self._against):
            found |= self._score(batch, group)
        return found

    def _groups(self, batch: Rows, model: Version | None) -> Iterator[_Group]:
        given = _given(batch)
        if model is None:
            for slot, rows in given.items():
                wanted = [row for row in rows if batch.slot[row] == slot]
                number, digest = batch.model_version[wanted[0]], batch.model_sha256[wanted[0]]
                version = self._versions.get(number or 0)
                check_same(version, digest or "")
                yield _Group(version, rows, wanted)
            return
        left = set(range(len(batch)))
        for slot, rows in given.items():
            answering = next(row for row in rows if batch.slot[row] == slot)
            if batch.model_version[answering] == model.version and left.issuperset(rows):
                left.difference_update(rows)
                yield _Group(model, rows, rows)
        if left:
            yield _Group(model, sorted(left), sorted(left))

    def _score(self, batch: Rows, group: _Group) -> dict[int, Answer]:
        json = batch.encoding[0] == "json"
        columns, undecodable = self._decoder.decode(
            [batch.record[row] for row in group.rows], json=json
        )
        outcomes = group.version.model.score(columns)
        outcomes = replace(outcomes, failures={**outcomes.failures, **undecodable})
        return dict(zip(group.rows, answers_of(outcomes), strict=True))


def replay(batches: Iterable[Rows], replayer: Replayer, *, limit: int | None) -> Iterator[Report]:
    """Replay batches, whole ones, until there are `limit` records. Yields the report after each."""
    for batch in batches:
        replayer.add(batch)
        yield replayer.report
        if limit is not None and replayer.report.records >= limit:
            return


def answered(batch: Rows, row: int) -> bool:
    """Return whether a slot's answer, or failure, was a record's."""
    return batch.slot[row] is not None and batch.model_version[row] is not None


def answer_in(batch: Rows, row: int) -> Answer:
    """Return the answer that a record got."""
    return Answer(
        batch.value[row],
        batch.label[row],
        batch.labels[row],
        batch.probabilities[row],
        batch.error_code[row],
    )


def answers_of(outcomes: Outcomes) -> list[Answer]:
    """Return the answer to each record."""
    if outcomes.values is not None:
        answers = [Answer(value) for value in outcomes.values.tolist()]
    elif outcomes.chosen is None:
        answers = [Answer()] * outcomes.count
    else:
        labels, chosen = outcomes.labels, outcomes.chosen.tolist()
        if outcomes.probabilities is None:
            answers = [Answer(None, _label(labels, place)) for place in chosen]
        else:
            answers = [
                Answer(None, _label(labels, place), labels, each)
                for place, each in zip(chosen, outcomes.probabilities.tolist(), strict=True)
            ]
    for row, failed in outcomes.failures.items():
        answers[row] = Answer(error=_code(failed))
    return answers


def _given(batch: Rows) -> dict[str, list[int]]:
    """Return the records that each slot was given, of those slots whose answer some record got."""
    chosen = dict.fromkeys(
        batch.slot[row] or "" for row in range(len(batch)) if answered(batch, row)
    )
    return {
        slot: [row for row, asked in enumerate(batch.asked) if slot in asked] for slot in chosen
    }


def _label(labels: Sequence[str], place: int) -> str | None:
    return labels[place] if place >= 0 else None


def _code(failed: Failed) -> str:
    return failed.code.value
