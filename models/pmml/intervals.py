"""PMML's intervals of numbers."""

from typing import Final

from repertory.errors import ModelRejected
from repertory.models.model import Interval
from repertory.models.pmml.arithmetic import Arithmetic
from repertory.models.pmml.xml import Element, Shape

_INTERVAL: Final = Shape(attributes="closure leftMargin rightMargin")
_CLOSURES: Final = ("openOpen", "openClosed", "closedOpen", "closedClosed")


def read_interval(element: Element) -> Interval:
    """Read an <Interval>."""
    _INTERVAL.check(element)
    element.require("closure")
    closure = element.choice("closure", _CLOSURES, "")
    interval = Interval(
        low=element.optional_number("leftMargin"),
        high=element.optional_number("rightMargin"),
        low_closed=closure.startswith("closed"),
        high_closed=closure.endswith("Closed"),
    )
    if interval.low is None and interval.high is None:
        raise ModelRejected(f"{element.where} has no margin")
    return interval


def inside(graph: Arithmetic, tensor: str, interval: Interval) -> str:
    """Return the mask of where a column is within an interval."""
    masks = []
    if interval.low is not None:
        operator = "GreaterOrEqual" if interval.low_closed else "Greater"
        masks.append(graph.op(operator, tensor, graph.number(interval.low)))
    if interval.high is not None:
        operator = "LessOrEqual" if interval.high_closed else "Less"
        masks.append(graph.op(operator, tensor, graph.number(interval.high)))
    return masks[0] if len(masks) == 1 else graph.op("And", *masks)
