"""The kinds of models that are compiled."""

from typing import Final

from repertory.models.pmml.answer import Answer
from repertory.models.pmml.document import unknown_kind
from repertory.models.pmml.frame import ModelCompiler, finish, open_model
from repertory.models.pmml.general_regression import general_regression_model
from repertory.models.pmml.mining import mining_model
from repertory.models.pmml.neural import neural_network
from repertory.models.pmml.regression import regression_model
from repertory.models.pmml.scope import Scope
from repertory.models.pmml.trees import tree_model
from repertory.models.pmml.xml import Element


def compile_model(element: Element, scope: Scope) -> tuple[Answer, Scope]:
    """Compile a model; return its answer and the scope of its own content.

    Raises NotCompiled for a kind of model, or a detail of it, that is not known.
    """
    compiler = _COMPILERS.get(element.tag)
    if compiler is None:
        raise unknown_kind(element)
    inner = open_model(element, scope)
    return finish(element, compiler(element, inner), inner), inner


_COMPILERS: Final[dict[str, ModelCompiler]] = {
    "TreeModel": tree_model,
    "RegressionModel": regression_model,
    "GeneralRegressionModel": general_regression_model,
    "NeuralNetwork": neural_network,
    "MiningModel": lambda element, scope: mining_model(element, scope, compile_model),
}
