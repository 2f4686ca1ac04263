"""What all model elements have in common."""

from typing import Final

from repertory.errors import ModelRejected
from repertory.models.pmml.refusal import NotCompiled
from repertory.models.pmml.xml import Element

# Attributes and children that every model element may have. The children are handled where the
# model is opened; those that only tell about the model are left out.
DOCUMENTATION: Final = "modelName algorithmName"
FRAME: Final = (
    "MiningSchema Output Targets LocalTransformations ModelStats ModelExplanation ModelVerification"
)


def is_classification(element: Element) -> bool:
    """Tell whether a model classifies; the other function that is compiled is regression."""
    element.require("functionName")
    return element.choice("functionName", ("classification", "regression"), "") == "classification"


def is_float(element: Element) -> bool:
    """Tell whether a model computes in float32. Raises NotCompiled for other contexts."""
    contexts = [
        element.choice(name, ("float", "double"), "double")
        for name in ("x-mathContext", "mathContext")
    ]
    return "float" in contexts


def check_scorable(element: Element) -> None:
    """Raise ModelRejected for a model that says of itself that it is not for scoring."""
    if element.choice("isScorable", ("true", "false", "1", "0"), "true") in ("false", "0"):
        raise ModelRejected(f"{element.where} says isScorable={element.get('isScorable')!r}")


def refuse(element: Element, attribute: str, what: str) -> NotCompiled:
    """Return the refusal of an attribute's value in some context."""
    return NotCompiled(f"{element.where}: {attribute}={element.get(attribute)!r} {what}")
