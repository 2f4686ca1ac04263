"""A client whose calls are waited for."""

import time
from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from typing import Any, Self, TypeVar, cast

import httpx2

from repertory.client import calls, transport
from repertory.client.documents import Health, OnStage, Policy, Published, Serving, State, Version
from repertory.client.exchange import Call
from repertory.client.pursuit import Heard, Nodes, Pause, Pursuit, Step
from repertory.client.records import Records, body_of, is_matrix
from repertory.client.scores import Scores
from repertory.client.settings import PUBLISH_TIMEOUT, RETRIES, TIMEOUT, Certificate, Settings
from repertory.client.signatures import signature_of
from repertory.client.watching import Watched
from repertory.errors import RequestFailed

T = TypeVar("T")


class Client:
    """Asks nodes; any number of threads may share it.

    `urls`: a node's address, or those of several, of which another is asked when one cannot be
    reached; without it `REPERTORY_URL`, or the node on this machine. `token`: without it
    `REPERTORY_TOKEN`, if that is set. `ca`: a file of the certificates to trust instead of the
    system's; `cert`: this client's own, a file or a pair of certificate and key; `verify=False`
    trusts anybody. `timeout`: seconds that a call may take, all attempts together; to publish, and
    to change policies, at least 120. `retries`: how often a node that is overloaded or cannot
    answer just now is asked again.

    Every method raises a `RequestFailed`, as the tree in `repertory.client.failures` has it. A
    context manager; without `with`, call `close`.
    """

    def __init__(
        self,
        urls: str | Sequence[str] | None = None,
        *,
        token: str | None = None,
        verify: bool = True,
        ca: str | PathLike[str] | None = None,
        cert: Certificate | None = None,
        timeout: float = TIMEOUT,
        retries: int = RETRIES,
    ) -> None:
        """Connect to nothing yet. Raises ValueError, and OSError of files that cannot be read."""
        settings = Settings.of(urls, token, verify=verify, ca=ca, cert=cert)
        self._nodes = Nodes(settings.urls)
        self._timeout, self._retries = timeout, retries
        self._http = httpx2.Client(**transport.options(settings))

    def __enter__(self) -> Self:
        """Return this client."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def score(
        self,
        data_type: str,
        records: Records,
        *,
        features: Sequence[str] | None = None,
        explain: bool = False,
        timeout: float | None = None,
    ) -> Scores:
        """Return a score for each record: of a dict, dicts, a numpy matrix, a pandas DataFrame.

        A matrix has a row for each record, and its columns are `features`, or else those of the
        data type in order, for which the node is asked first. Bytes are one protobuf message.
        A record that cannot be scored has an `error` for its score. With `explain`, scores tell
        what each slot of a policy said.
        """
        if features is None and is_matrix(records):
            features = self.features(data_type)
        call = calls.score(data_type, body_of(records, features), explain=explain)
        return self._pursue(call, timeout)

    def publish(
        self,
        data_type: str,
        model: str | PathLike[str] | bytes,
        *,
        name: str | None = None,
        description: str = "",
        model_type: str | None = None,
        signature: str | PathLike[str] | None = None,
        wait: bool = True,
        timeout: float | None = None,
    ) -> Published:
        """Publish a model, a file or its bytes, and wait until it serves.

        `name` is by default that of the file; `model_type` is told from the content; `signature` is
        what `repertory sign` wrote, a path or the text, by default the file `MODEL.sig` if there is
        one. Without `wait`, `versions` tells what becomes of it. Raises Rejected with the reason; when the
        connection broke after something was sent, it is not sent again, and Unreachable says so.
        """
        form = calls.form(
            data_type,
            model,
            name=name,
            description=description,
            modelType=model_type,
            signature=signature_of(model, signature),
        )
        return self._change(calls.publish(form, wait=wait), timeout)

    def features(self, data_type: str) -> tuple[str, ...]:
        """Return a data type's features in order; a vector's with its width, `pixels[784]`."""
        return self._pursue(calls.features(data_type))

    def rollback(self, data_type: str, version: int) -> Published:
        """Have a version serve again that served before."""
        return self._change(calls.rollback(data_type, version))

    def retire(self, data_type: str) -> Published:
        """Have no model of a data type serve any more, until one is published or rolled back to."""
        return self._change(calls.retire(data_type))

    def models(self) -> list[Serving]:
        """Return the models on stage."""
        return self._pursue(calls.models())

    def versions(self, data_type: str) -> list[Version]:
        """Return all versions of a data type's models, the newest first."""
        return self._pursue(calls.versions(data_type))

    def state(self, data_type: str) -> State:
        """Return how a data type's model does. Raises NoModel when none serves."""
        return self._pursue(calls.state(data_type))

    def compare(self, data_type: str) -> dict[str, Any]:
        """Return how the models on a policy's slots differ, as `/compare` tells it."""
        return self._pursue(calls.compare(data_type))

    def policy(self, data_type: str) -> Policy | None:
        """Return the policy in force, if any is."""
        return self._pursue(calls.policy(data_type))

    def policies(self, data_type: str) -> list[Policy]:
        """Return all policies there were, the newest first."""
        return self._pursue(calls.policies(data_type))

    def set_policy(
        self,
        data_type: str,
        settings: Mapping[str, Any],
        *,
        description: str = "",
        wait: bool = True,
    ) -> Policy:
        """Put a policy in force, such as `{"policy": "latest"}`. Raises Rejected with the reason."""
        call = calls.set_policy(data_type, settings, description=description, wait=wait)
        return self._change(call)

    def remove_policy(self, data_type: str) -> Policy:
        """Have no policy any more."""
        return self._change(calls.remove_policy(data_type))

    def roll_back_policy(self, data_type: str, version: int) -> Policy:
        """Put the settings of an earlier policy in force again, as a new version."""
        return self._change(calls.roll_back_policy(data_type, version))

    def cluster(self) -> dict[str, Any]:
        """Return the nodes and who serves what, as `/cluster` tells it."""
        return self._pursue(calls.cluster())

    def status(self, node: str | None = None) -> dict[str, Any]:
        """Return how a node does, as `/status` tells it: the one that answers, or a named one."""
        return self._pursue(calls.status(node))

    def health(self) -> Health:
        """Return whether the node that answers is ready, and else what is in the way."""
        return self._pursue(calls.health())

    def watch(self, data_type: str, *, every: float = 1.0) -> Iterator[OnStage]:
        """Yield which models are on stage: at once, and whenever others are.

        It goes on while nodes cannot be reached. The node is asked `every` so many seconds: what
        came and went between two questions is not told.
        """
        watched = Watched(data_type)
        while True:
            try:
                found: OnStage | None = self.state(data_type).on_stage
            except RequestFailed as error:
                found = watched.after(error)
            if found is not None and watched.is_news(found):
                yield found
            time.sleep(every)

    def _change(self, call: Call[T], timeout: float | None = None) -> T:
        return self._pursue(call, timeout or max(self._timeout, PUBLISH_TIMEOUT))

    def _pursue(self, call: Call[T], timeout: float | None = None) -> T:
        seconds = self._timeout if timeout is None else timeout
        pursuit = Pursuit(self._nodes, seconds=seconds, retries=self._retries, now=time.monotonic)
        steps, heard = pursuit.steps(call), cast(Heard, None)
        while True:
            try:
                step = steps.send(heard)
            except StopIteration as done:
                return cast(T, done.value)
            heard = self._carry_out(call, step)

    def _carry_out(self, call: Call[Any], step: Step) -> Heard:
        if isinstance(step, Pause):
            time.sleep(step.seconds)
            return None
        try:
            with transport.request(call, step) as arguments:
                return transport.reply(self._http.request(**arguments))
        except httpx2.RequestError as error:
            return transport.lost(error)
