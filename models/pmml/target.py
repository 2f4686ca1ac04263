"""The field that a model predicts."""

from collections.abc import Iterable
from dataclasses import dataclass

from repertory.models.pmml.columns import DataType, number_of
from repertory.models.pmml.refusal import NotCompiled
from repertory.models.pmml.xml import At, place


@dataclass(frozen=True, slots=True)
class TargetField:
    """Name, type and classes of a target; `classes` is empty where only a number is predicted."""

    name: str | None
    data_type: DataType
    is_ordinal: bool = False
    classes: tuple[str, ...] = ()

    def index(self, label: str, at: At) -> int:
        """Return the index of a class. Raises NotCompiled when it is none of the target's."""
        if label in self.classes:
            return self.classes.index(label)
        if self.data_type is not DataType.STRING:
            number = number_of(label, self.data_type, at)
            for index, known in enumerate(self.classes):
                if number_of(known, self.data_type, at) == number:
                    return index
        raise NotCompiled(f"{place(at)}: {label!r} is not among the target's values {self._shown}")

    @property
    def _shown(self) -> str:
        return ", ".join(map(repr, self.classes)) or "(none)"


def distinct(labels: Iterable[str]) -> tuple[str, ...]:
    """Return labels without those that came before."""
    return tuple(dict.fromkeys(labels))
