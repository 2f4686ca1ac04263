"""The compiler as a whole: exporters' files, hostile ones, exactness, and speed."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from repertory.errors import ModelRejected
from repertory.models.model import Feature, Schema
from repertory.models.pmml.compiler import compile_pmml
from repertory.models.pmml.refusal import NotCompiled

FIXTURES = Path(__file__).parents[1] / "fixtures" / "pmml"
FILES = sorted(path.relative_to(FIXTURES).as_posix() for path in FIXTURES.glob("*/*.pmml"))
NOT_COMPILED = {"sklearn2pmml/naive-bayes.pmml", "sklearn2pmml/support-vectors.pmml"}
NAMES = (
    "fixed_acidity", "volatile_acidity", "citric_acid", "residual_sugar", "chlorides",
    "free_sulfur_dioxide", "total_sulfur_dioxide", "density", "pH", "sulphates", "alcohol",
)  # fmt: skip
WINE = Schema("wine", tuple(map(Feature, NAMES)))
X = Schema("test", (Feature("x"),))
TREE = '<TreeModel functionName="regression"><MiningSchema><MiningField name="x"/></MiningSchema>{}</TreeModel>'


def document(model: str) -> bytes:
    return f"""<PMML xmlns="http://www.dmg.org/PMML-4_4" version="4.4"><Header/><DataDictionary>
      <DataField name="x" optype="continuous" dataType="double"/></DataDictionary>{model}
      </PMML>""".encode()


def run(content: bytes, rows: Any, level: ort.GraphOptimizationLevel) -> list[Any]:
    options = ort.SessionOptions()
    options.graph_optimization_level = level
    session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    outputs: list[Any] = session.run(None, {"features": rows})
    return outputs


@pytest.mark.parametrize("file", [file for file in FILES if file not in NOT_COMPILED])
def test_nothing_is_lost_when_onnxruntime_optimises(file: str) -> None:
    content = compile_pmml((FIXTURES / file).read_bytes(), WINE).content
    width = len(compile_pmml((FIXTURES / file).read_bytes(), WINE).signature.tensors[0].features)
    rows = np.random.default_rng(1).uniform(0, 12, (64, width))
    levels = ort.GraphOptimizationLevel
    plain = run(content, rows, levels.ORT_DISABLE_ALL)
    for one, other in zip(plain, run(content, rows, levels.ORT_ENABLE_ALL), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("file", sorted(NOT_COMPILED))
def test_kinds_that_are_not_known_are_not_compiled(file: str) -> None:
    with pytest.raises(NotCompiled, match="not a kind of model that is compiled"):
        compile_pmml((FIXTURES / file).read_bytes(), WINE)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("", "no model"),
        ("<TreeModel/>", "no <MiningSchema>"),
        (TREE.format("") * 2, "2 models"),
        (TREE.format(""), "no <Node> where 1 is due"),
        (TREE.format('<Node score="1"/>'), "no predicate"),
        (TREE.format('<Node score="much"><True/></Node>'), "'much' is not a number"),
        (TREE.replace("<TreeModel", '<TreeModel isScorable="false"').format(""), "isScorable"),
        (TREE.replace("regression", "").format(""), "functionName"),
    ],
)
def test_a_document_without_a_whole_model_is_rejected(model: str, reason: str) -> None:
    with pytest.raises((ModelRejected, NotCompiled), match=reason):
        compile_pmml(document(model), X)


def test_nodes_nested_without_end_are_rejected() -> None:
    node = '<Node score="1"><True/>'
    with pytest.raises(ModelRejected, match="nest more than"):
        compile_pmml(document(TREE.format(node * 10_000 + "</Node>" * 10_000)), X)


@pytest.mark.parametrize("cut", range(40, 320, 24))
def test_a_document_that_is_cut_is_rejected(cut: int) -> None:
    with pytest.raises(ModelRejected):
        compile_pmml(document(TREE.format('<Node score="1"><True/></Node>'))[:cut], X)


def forest(trees: int, depth: int) -> str:
    """A forest of full trees."""
    rng = np.random.default_rng(2)

    def node(level: int, predicate: str) -> str:
        bound = rng.random()
        below = "".join(
            node(level + 1, f'<SimplePredicate field="x" operator="{operator}" value="{bound}"/>')
            for operator in (("lessThan", "greaterOrEqual") if level < depth else ())
        )
        return f'<Node score="{rng.random()}">{predicate}{below}</Node>'

    segments = "".join(
        f"<Segment><True/>{TREE.format(node(0, '<True/>'))}</Segment>" for _ in range(trees)
    )
    return f"""<MiningModel functionName="regression"><MiningSchema><MiningField name="x"/>
      </MiningSchema><Segmentation multipleModelMethod="average">{segments}</Segmentation></MiningModel>"""


def test_a_large_forest_is_compiled_in_seconds() -> None:
    content = document(forest(100, 8))
    start = time.process_time()
    compile_pmml(content, X)
    assert time.process_time() - start < 10  # 0.6 s on a quiet machine
