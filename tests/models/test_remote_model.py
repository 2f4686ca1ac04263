"""A model in a worker process: its death and silence are told, and nothing of it is left behind."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from repertory.errors import FailureCode, ModelRejected
from repertory.models.model import (
    Columns,
    Engine,
    InputFeature,
    InputTensor,
    ModelBroken,
    PreparedModel,
    Signature,
    Task,
)
from repertory.models.remote_model import RemoteEngineModel

DOCUMENT = b"""<?xml version="1.0"?>
<PMML xmlns="http://www.dmg.org/PMML-4_4" version="4.4"><Header/>
<DataDictionary>
 <DataField name="al cohol" optype="continuous" dataType="double"/>
 <DataField name="quality" optype="continuous" dataType="double"/>
</DataDictionary>
<RegressionModel functionName="regression"><MiningSchema>
 <MiningField name="al cohol"/><MiningField name="quality" usageType="target"/></MiningSchema>
<RegressionTable intercept="1"><NumericPredictor name="al cohol" coefficient="2"/></RegressionTable>
</RegressionModel></PMML>"""

ALCOHOL = InputTensor("al cohol", "float64", (InputFeature("alcohol"),), rank=1)
SIGNATURE = Signature(Task.REGRESSION, (ALCOHOL,), value_output="predicted_quality")
PREPARED = PreparedModel(Engine.PYPMML, DOCUMENT, SIGNATURE)


def records(*values: float) -> Columns:
    return Columns(len(values), {"alcohol": np.array(values)})


@pytest.fixture(scope="module")
def model() -> Iterator[RemoteEngineModel]:
    loaded = RemoteEngineModel(PREPARED)
    yield loaded
    loaded.close()


def test_records_are_scored_over_the_pipe(model: RemoteEngineModel) -> None:
    outcomes = model.score(records(*range(1000)))
    assert outcomes.values is not None
    np.testing.assert_array_equal(outcomes.values, 1 + 2 * np.arange(1000))


def test_an_empty_batch_needs_no_worker(model: RemoteEngineModel) -> None:
    assert model.score(records()).count == 0


def test_a_bad_record_never_reaches_the_engine(model: RemoteEngineModel) -> None:
    outcomes = model.score(records(1, np.nan, np.inf, 2))
    assert outcomes.values is not None
    assert outcomes.values[[0, 3]].tolist() == [3.0, 5.0]
    codes = {row: failed.code for row, failed in outcomes.failures.items()}
    assert codes == {1: FailureCode.MISSING_FEATURE, 2: FailureCode.INVALID_FEATURE}


def test_an_output_that_the_engine_does_not_give_fails_each_record() -> None:
    signature = Signature(Task.REGRESSION, (ALCOHOL,), value_output="nonsense")
    other = RemoteEngineModel(PreparedModel(Engine.PYPMML, DOCUMENT, signature))
    try:
        outcomes = other.score(records(1, 2))
    finally:
        other.close()
    assert "gives no 'nonsense'; it gives predicted_quality" in outcomes.failures[1].message


@pytest.mark.parametrize("engine", [Engine.PYPMML, Engine.TENSORFLOW])
def test_a_model_that_the_engine_refuses_is_rejected(engine: Engine) -> None:
    before = len(psutil.Process().children())
    with pytest.raises(ModelRejected, match="its engine refuses the model"):
        RemoteEngineModel(PreparedModel(engine, b"garbage", SIGNATURE))
    assert len(psutil.Process().children()) == before


def test_a_worker_that_dies_breaks_the_model() -> None:
    model = RemoteEngineModel(PREPARED)
    psutil.Process(model.pid).kill()
    with pytest.raises(ModelBroken, match="SIGKILL"):
        model.score(records(1))
    with pytest.raises(ModelBroken, match="SIGKILL"):
        model.score(records(1))
    model.close()


def test_a_worker_that_does_not_answer_is_killed() -> None:
    model = RemoteEngineModel(PREPARED, batch_seconds=0.5)
    worker = psutil.Process(model.pid)
    worker.suspend()
    with pytest.raises(ModelBroken, match=r"did not answer within 0\.5 s"):
        model.score(records(1))
    assert not worker.is_running()


def test_closing_ends_the_worker_and_may_be_repeated() -> None:
    model = RemoteEngineModel(PREPARED)
    worker = psutil.Process(model.pid)
    folder = Path(worker.cwd())
    model.close()
    model.close()
    assert not worker.is_running()
    assert not folder.exists()
    with pytest.raises(ModelBroken, match="closed"):
        model.score(records(1))


def test_a_worker_started_by_a_thread_outlives_that_thread() -> None:
    models: list[RemoteEngineModel] = []
    thread = threading.Thread(target=lambda: models.append(RemoteEngineModel(PREPARED)))
    thread.start()
    thread.join(60)
    try:
        assert models[0].score(records(1)).values == np.array([3.0])
    finally:
        models[0].close()


def test_a_worker_does_not_outlive_a_parent_that_is_killed() -> None:
    code = f"""
import os, signal
from repertory.models.model import *
from repertory.models.remote_model import RemoteEngineModel
tensor = InputTensor("al cohol", "float64", (InputFeature("alcohol"),), rank=1)
signature = Signature(Task.REGRESSION, (tensor,), value_output="predicted_quality")
model = RemoteEngineModel(PreparedModel(Engine.PYPMML, {DOCUMENT!r}, signature))
print(model.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    found = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=False)
    assert found.returncode == -signal.SIGKILL
    pid = int(found.stdout)
    if psutil.pid_exists(pid):
        psutil.Process(pid).wait(10)
