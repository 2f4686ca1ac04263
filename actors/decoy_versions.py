"""The model versions that a replay scores with, opened outside the node."""

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

from repertory.actors.keeper import open_journal
from repertory.actors.process import NodeProcess
from repertory.errors import InvalidRequest, ModelRejected, NotFound, SnapshotCorrupt
from repertory.journal.catalog import Catalog
from repertory.journal.journal import Journal
from repertory.models.descriptor import read_descriptor
from repertory.models.green_room import GreenRoom
from repertory.models.loader import load_model
from repertory.models.model import Model, PreparedModel, Schema
from repertory.models.prepared import load_prepared

MOST_OPEN = 8  # models that are kept in memory


@dataclass(frozen=True, slots=True)
class Version:
    """A model version that is open."""

    name: str
    version: int
    sha256: str
    model: Model

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"


class Versions:
    """Opens the versions of a data type, as a node has them: prepared, or else from its journal.

    Reads what is the node's, and writes nothing there. Blocks. Used by one thread.
    """

    def __init__(self, process: NodeProcess, schema: Schema) -> None:
        self._process = process
        self._schema = schema
        self._open: OrderedDict[int, Version] = OrderedDict()

    def get(self, number: int, *, name: str | None = None) -> Version:
        """Return a version, open until others take its place.

        Raises NotFound when there is none of this number, or it has another name, and
        ModelRejected when it cannot be opened.
        """
        found = self._open.get(number)
        if found is None:
            found = self._opened(number)
            self._open[number] = found
            if len(self._open) > MOST_OPEN:
                _, oldest = self._open.popitem(last=False)
                oldest.model.close()
        if name is not None and found.name != name:
            raise NotFound(f"version {number} of {self._data_type!r} is {found}, not {name!r}")
        self._open.move_to_end(number)
        return found

    def close(self) -> None:
        """Close all. Idempotent."""
        for each in self._open.values():
            each.model.close()
        self._open.clear()

    @property
    def _data_type(self) -> str:
        return self._schema.data_type

    def _opened(self, number: int) -> Version:
        name, digest = self._described(number)
        folder = self._process.paths.models / self._data_type / str(number)
        try:
            prepared = load_prepared(folder)
        except SnapshotCorrupt:  # it is gone, for example: a node keeps the newest ones only
            prepared = self._prepared_again(number)
        return Version(name, number, digest, load_model(prepared))

    def _described(self, number: int) -> tuple[str, str]:
        """Return the name of a version, and the digest of what was published."""
        path = self._process.paths.catalog
        if path.exists():
            with closing(Catalog(path)) as catalog:
                try:
                    model = catalog.get(self._data_type, number)
                except NotFound:
                    pass
                else:
                    return model.name, model.sha256
        descriptor = self._descriptor(number)
        try:
            description = read_descriptor(descriptor, self._process.config.models)
        except ModelRejected as error:
            raise NotFound(f"version {number} never served: {error}") from error
        return description.name, description.sha256

    def _descriptor(self, number: int) -> bytes:
        with self._journal(number) as journal:
            entry = journal.get(number)
        if entry is None or entry.data_type != self._data_type or entry.descriptor is None:
            raise self._unknown(number)
        return entry.descriptor

    def _prepared_again(self, number: int) -> PreparedModel:
        descriptor = self._descriptor(number)
        room = GreenRoom(self._process.config.models, {self._data_type: self._schema})
        try:
            return room.prepare(descriptor).prepared
        finally:
            room.close()

    @contextmanager
    def _journal(self, number: int) -> Iterator[Journal]:
        config, path = self._process.config, self._process.paths.journal
        if config.journal.kind == "sqlite" and not path.exists():
            raise self._unknown(number)  # opening it would make it
        with closing(open_journal(self._process)) as journal:
            yield journal

    def _unknown(self, number: int) -> NotFound:
        return NotFound(
            f"node {self._process.node!r} has no version {number} of {self._data_type!r}:"
            f" `repertory versions {self._data_type}` lists those that it has"
        )


def check_same(version: Version, sha256: str) -> None:
    """Raise InvalidRequest unless a version is the one that answered, by its digest."""
    if sha256 and version.sha256 and sha256 != version.sha256:
        raise InvalidRequest(
            f"what answered as {version} had the digest {sha256[:12]}…, and this node's has"
            f" {version.sha256[:12]}…: the archive is of another journal; say --model"
        )
