"""A node has one router, however long its creation takes."""

import threading
from collections.abc import Callable
from threading import Event

import pytest

from repertory.actors import actor_host
from repertory.actors.actor_host import ActorHost
from repertory.config import ClusterConfig, parse_config


class BusySystem:
    """A system that needs long to create its first actor: a busy machine does."""

    def __init__(self) -> None:
        self.go_on = Event()
        self.created = 0
        self.told: list[object] = []

    def createActor(self, _: object) -> int:
        self.created += 1
        number = self.created
        assert number > 1 or self.go_on.wait(20)
        return number

    def tell(self, router: object, _: object) -> None:
        self.told.append(router)


@pytest.fixture
def config() -> ClusterConfig:
    wine = {"message": "repertory.protos.winerecord_pb2:WineRecord", "features": ["pH"]}
    return parse_config({"data_types": {"wine": wine}})


async def test_a_router_that_nobody_waited_for_is_not_started_beside_the_next(
    config: ClusterConfig, monkeypatch: pytest.MonkeyPatch, wait_for: Callable[..., None]
) -> None:
    before = set(threading.enumerate())
    system, host = BusySystem(), ActorHost(config, "a")
    monkeypatch.setattr(actor_host, "CREATE_SECONDS", 0.2)
    monkeypatch.setattr(host, "_start_system", lambda: system)
    await host.create_router()
    assert system.told == [2]
    system.go_on.set()
    wait_for(lambda: set(threading.enumerate()) <= before)
    assert system.told == [2]
