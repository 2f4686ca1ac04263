"""Which input fields of a document may be missing, because the document says what to do then.

PMML gives every missing value some meaning, mostly "no prediction". A record is scored without a
feature only where the document *declares* a treatment: a replacement, a tree's strategy for missing
values, a test for missing, or mapMissingTo.
"""

from collections.abc import Iterable
from typing import Final

from repertory.models.pmml.xml import Element

_STRATEGIES: Final = {"lastPrediction", "defaultChild", "weightedConfidence", "aggregateNodes"}
_TESTS: Final = {"isMissing", "isNotMissing"}


def may_be_missing(root: Element, names: Iterable[str]) -> set[str]:
    """Return those of the input fields `names` for whose absence the document declares what to do."""
    inputs = set(names)
    declared: set[str] = set()
    derived: dict[str, set[str]] = {}
    for element in root.walk():
        attributes = element.attributes
        if element.tag == "TreeModel" and _tree_declares(attributes):
            declared |= _mining_fields(element)
        elif element.tag == "DerivedField":
            derived[attributes.get("name", "")] = _fields_below(element)
        elif "mapMissingTo" in attributes or "defaultValue" in attributes:
            declared |= _fields_below(element)
        elif element.tag == "MiningField" and "missingValueReplacement" in attributes:
            declared.add(attributes.get("name", ""))
        elif _is_a_test(element):
            declared |= _fields_below(element)
    return _reached(declared, derived) & inputs


def _tree_declares(attributes: dict[str, str]) -> bool:
    """Tell whether a tree has a prediction for records that lack what it tests.

    "none" takes each test of a missing value as failed; with returnLastPrediction every record gets
    a prediction, which is how gradient boosters' default directions are written.
    """
    strategy = attributes.get("missingValueStrategy", "none")
    keeps_last = attributes.get("noTrueChildStrategy") == "returnLastPrediction"
    return strategy in _STRATEGIES or (strategy == "none" and keeps_last)


def _is_a_test(element: Element) -> bool:
    attributes = element.attributes
    return (
        attributes.get("operator") in _TESTS
        or attributes.get("function") in _TESTS
        or attributes.get("booleanOperator") == "surrogate"
    )


def _mining_fields(model: Element) -> set[str]:
    schema = model.find("MiningSchema")
    return {field.get("name") for field in schema.children} if schema else set()


def _fields_below(element: Element) -> set[str]:
    names = (below.attributes.get("field") for below in element.walk())
    return {name for name in names if name is not None}


def _reached(names: set[str], derived: dict[str, set[str]]) -> set[str]:
    """Return these fields and all that they are derived from."""
    reached: set[str] = set()
    pending = list(names)
    while pending:
        name = pending.pop()
        if name not in reached:
            reached.add(name)
            pending.extend(derived.get(name, ()))
    return reached
