"""From a published PMML document to a model that may serve.

A compiled document is compared with the answers that it states itself (ModelVerification), not with
PMML4S on probe records: PMML4S is silently wrong for some documents, so that a difference would say
nothing, and its JVM takes seconds. The compiler's own tests compare it with what the libraries
answered that trained the models.
"""

from dataclasses import replace

from repertory.errors import ModelRejected
from repertory.models.extras import require
from repertory.models.loader import load_model
from repertory.models.model import Engine, PreparedModel, Schema, Signature
from repertory.models.pmml.compiler import compile_pmml
from repertory.models.pmml.fallback import normalise_for_pypmml, pmml_signature
from repertory.models.pmml.refusal import NotCompiled
from repertory.models.pmml_verification import Verification
from repertory.models.probes import PROBES, probe_columns
from repertory.models.remote_model import RemoteEngineModel


def prepare_pmml(content: bytes, schema: Schema) -> PreparedModel:
    """Compile a document to ONNX, or give it to PMML4S. Raises ModelRejected.

    Blocks for seconds in the second case, while a JVM starts.
    """
    try:
        compiled = compile_pmml(content, schema)
        reason = Verification(content, schema).fault(load_model(compiled))
        if reason is None:
            return compiled
    except NotCompiled as refusal:
        reason = refusal.reason
    try:
        return _on_pypmml(content, schema)
    except ModelRejected as rejected:
        raise ModelRejected(
            f"{rejected.reason} (it was not compiled because: {reason})"
        ) from rejected


def _on_pypmml(content: bytes, schema: Schema) -> PreparedModel:
    """Return the document for PMML4S, without probabilities if it gives none."""
    require("pypmml", "jpype", extra="pmml")
    signature = _as_they_are(pmml_signature(content, schema))
    prepared = PreparedModel(Engine.PYPMML, normalise_for_pypmml(content), signature)
    verification = Verification(content, schema)
    if _answers(prepared, verification) or signature.probabilities_output is None:
        return prepared
    bare = replace(prepared, signature=replace(signature, probabilities_output=None))
    _answers(bare, verification)
    return bare  # whether it answers at all is asked of every model afterwards


def _answers(prepared: PreparedModel, verification: Verification) -> bool:
    """Tell whether PMML4S answers any probe record. Raises ModelRejected if it answers wrongly."""
    model = RemoteEngineModel(prepared)
    try:
        if len(model.score(probe_columns(prepared.signature)).failures) == PROBES:
            return False
        fault = verification.fault(model)
    finally:
        model.close()
    if fault is not None:
        raise ModelRejected(fault)
    return True


def _as_they_are(signature: Signature) -> Signature:
    """Return a signature by which categories reach the engine themselves, not their indices."""
    tensors = tuple(
        replace(tensor, dtype="object") if any(f.categories for f in tensor.features) else tensor
        for tensor in signature.tensors
    )
    return replace(signature, tensors=tensors)
