"""A client against a real node: records in all their forms."""

import subprocess
import sys
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest

from repertory.actors.local_node import LocalNode
from repertory.client import AsyncClient, Client, InvalidRequest, ScoresFailed
from repertory.protos.winerecord_pb2 import WineRecord

Wines = list[dict[str, float]]


def labels(scores: Any) -> list[str]:
    return [each.label for each in scores]


def test_a_record_gets_a_label_and_the_model_that_gave_it(client: Client, wines: Wines) -> None:
    (score,) = client.score("wine", wines[0])
    assert score.label == "5"
    assert score.probabilities is not None
    assert sum(score.probabilities.values()) == pytest.approx(1)
    assert score.model is not None
    assert score.model.sha256 == client.state("wine").sha256


def test_every_form_of_the_same_records_gets_the_same_scores(client: Client, wines: Wines) -> None:
    table = pd.DataFrame(wines)
    backwards = table[table.columns[::-1]]
    expected = labels(client.score("wine", wines))
    forms = [iter(wines), table, backwards, table.to_numpy(), table.to_numpy(np.float32, copy=True)]
    assert all(labels(client.score("wine", each)) == expected for each in forms)
    by_name = client.score("wine", backwards.to_numpy(), features=list(backwards.columns))
    assert labels(by_name) == expected
    message = WineRecord(**cast(Any, wines[0])).SerializeToString()
    assert labels(client.score("wine", message)) == expected[:1]
    assert labels(client.score("wine", table.to_numpy()[0])) == expected[:1]


def test_a_record_that_fails_does_not_touch_the_others(client: Client, wines: Wines) -> None:
    scores = client.score("wine", [wines[0], wines[1] | {"alcohol": None}])
    assert [each.failed for each in scores] == [False, True]
    assert (scores[1].code, scores[1].error) == ("missing_feature", "alcohol is missing")
    with pytest.raises(ScoresFailed, match=r"1 of 2 records .* record 1: alcohol is missing"):
        scores.check()


def test_scores_become_an_array_with_none_for_what_failed(client: Client, wines: Wines) -> None:
    scores = client.score("wine", [wines[0], {}])
    assert scores.to_numpy().tolist() == ["5", None]


def test_scores_become_a_table_with_the_index_of_the_one_that_was_scored(
    client: Client, wines: Wines
) -> None:
    table = pd.DataFrame(wines[:2], index=["red", "redder"])
    table.loc["redder", "pH"] = pd.NA
    scored = client.score("wine", table).to_pandas()
    assert list(scored.index) == ["red", "redder"]
    assert scored.loc["red", "label"] == "5"
    assert scored.loc["redder", "error"] == "pH is missing"
    assert scored["probability_5"].dtype == np.float64
    assert np.isnan(scored.loc["redder", "probability_5"])


def test_values_become_numbers(client: Client, wines: Wines, wine_models: Any) -> None:
    client.publish("cider", wine_models / "03-linear-regression.pmml", name="line")
    scores = client.score("cider", [wines[0], {}])
    assert scores.to_numpy().dtype == np.float64
    assert scores.to_numpy()[0] == pytest.approx(scores[0].value)
    assert np.isnan(scores.to_numpy()[1])
    assert scores.to_pandas()["value"].dtype == np.float64


def test_no_records_get_no_scores(client: Client) -> None:
    scores = client.score("wine", [])
    assert len(scores) == 0
    assert scores.to_pandas().empty


@pytest.mark.parametrize(
    ("records", "message"),
    [
        (np.zeros((2, 3)), r"shape \[2, 3\].* must be \[-1, 11\]"),
        ("wine", "not str"),
        ([{"alcohol": object()}], "cannot be written as JSON"),
    ],
)
def test_what_are_no_records_is_said_before_it_is_sent(
    client: Client, records: Any, message: str
) -> None:
    with pytest.raises(InvalidRequest, match=message):
        client.score("wine", records)


async def test_the_asynchronous_client_scores_alike(
    client: Client, node: LocalNode, wines: Wines
) -> None:
    async with AsyncClient(node.url) as other:
        scores = await other.score("wine", pd.DataFrame(wines).to_numpy())
    assert labels(scores) == labels(client.score("wine", wines))


def test_a_policy_tells_which_slot_it_chose(client: Client, mead: str, wines: Wines) -> None:
    scores = client.score(mead, wines[:2], explain=True)
    assert scores.policy is not None
    assert scores[0].answers[0]["slot"] == "forest"
    assert scores[0].slot == "forest"
    assert scores[0].model == scores.model
    assert list(scores.to_pandas()["slot"]) == ["forest", "forest"]


def test_the_client_loads_neither_actors_nor_models_nor_numpy() -> None:
    heavy = ("thespian", "onnxruntime", "aiohttp", "numpy", "pandas", "pydantic")
    ours = ("repertory.actors", "repertory.models", "repertory.config")
    program = (
        f"import sys, repertory.client; print([m for m in {heavy + ours!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout.decode().strip() == "[]"
