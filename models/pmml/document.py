"""The outermost element of a PMML document, and the one model in it."""

from typing import Final

from repertory.errors import ModelRejected
from repertory.models.pmml.refusal import NotCompiled
from repertory.models.pmml.xml import Element

_AROUND: Final = {
    "Header",
    "MiningBuildTask",
    "DataDictionary",
    "TransformationDictionary",
    "Extension",
}


def find_model(root: Element) -> Element:
    """Return the one model of a document. Raises ModelRejected when there is none, or several."""
    models = [child for child in root.children if child.tag not in _AROUND]
    if not models:
        raise ModelRejected("the PMML document holds no model")
    if len(models) > 1:
        names = ", ".join(model.where for model in models)
        raise ModelRejected(
            f"the PMML document holds {len(models)} models, of which one is due: {names}"
        )
    model = models[0]
    if model.find("MiningSchema") is None:
        raise ModelRejected(
            f"{model.where} has no <MiningSchema>, so it is no model that can be scored"
        )
    return model


def unknown_kind(model: Element) -> NotCompiled:
    """Return the refusal of a kind of model that is not compiled."""
    return NotCompiled(f"{model.where} is not a kind of model that is compiled")
