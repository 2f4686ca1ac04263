"""Whether whoever signed a model version is trusted."""

from functools import lru_cache

from repertory.config import Models
from repertory.errors import ModelRejected
from repertory.journal.catalog import ModelVersion
from repertory.models.descriptor import read_descriptor
from repertory.models.signing import Statement, TrustedKeys

# Whoever looks at a list of versions looks at it again.
_REMEMBERED = 4096


class Trust:
    """Judges signatures by `models.trusted_keys`. Thread-safe."""

    def __init__(self, limits: Models) -> None:
        self._limits = limits
        self._keys = TrustedKeys(limits.trusted_keys)
        self._signer = lru_cache(_REMEMBERED)(self._keys.signer)

    def refuse_untrusted(self, model: ModelVersion, descriptor: bytes | None = None) -> None:
        """Refuse a version without a signature that counts, where one is needed.

        Of a `descriptor` that makes no sense that is told instead. Raises ModelRejected.
        """
        if not self._keys:
            return
        try:
            self._signer(_statement(model), model.signature)
        except ModelRejected:
            if descriptor is not None:
                read_descriptor(descriptor, self._limits)
            raise

    def signed_by(self, model: ModelVersion) -> str | None:
        """Return the fingerprint of the trusted key that signed a version; None: none did."""
        try:
            return self._signer(_statement(model), model.signature)
        except ModelRejected:
            return None


def _statement(model: ModelVersion) -> Statement:
    return Statement(model.sha256, model.model_type, model.data_type)
