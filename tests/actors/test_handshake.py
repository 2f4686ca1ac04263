"""Two routers prove to each other who they are, and whoever cannot is refused by name of why."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repertory.actors.handshake import Caller, Identity, Keeper, Refused
from repertory.protos.door_pb2 import Challenge, Hello, Welcome

SECRET = b"a secret of some length"
NODES = frozenset({"a", "b", "c"})


def identity(node: str, **more: object) -> Identity:
    plain = Identity(
        node=node,
        incarnation=f"{node}-1",
        software="0.1.0",
        secret=SECRET,
        nodes=NODES,
        agreement={"journal.kind": "k", "data_types.wine.features": "f"},
    )
    return replace(plain, **more)  # type: ignore[arg-type]


A, B = identity("a"), identity("b")


def refusal(keeper: Identity, caller: Identity, certified: frozenset[str] | None = None) -> str:
    """Let `caller` knock at the keeper's door; return why it is not let in."""
    door, guest = Keeper(keeper), Caller(caller, keeper.node)
    with pytest.raises(Refused) as refused:
        door.welcome(guest.hello(door.challenge()), certified)
    return str(refused.value)


def test_both_learn_who_the_other_one_is() -> None:
    door, guest = Keeper(A), Caller(B, "a")
    came, welcome = door.welcome(guest.hello(door.challenge()))
    found = guest.welcomed(welcome)
    assert (came.node, came.incarnation, came.software, came.protocol) == ("b", "b-1", "0.1.0", 2)
    assert (found.node, found.incarnation, found.software, found.protocol) == (
        *("a", "a-1"),
        *("0.1.0", 2),
    )


# --- versions

versions = st.tuples(st.integers(1, 9), st.integers(1, 9)).map(sorted)


@given(versions, versions)
def test_the_newest_version_that_both_speak_is_spoken(ours: list[int], theirs: list[int]) -> None:
    keeper = identity("a", oldest=ours[0], newest=ours[1])
    caller = identity("b", oldest=theirs[0], newest=theirs[1])
    common = set(range(ours[0], ours[1] + 1)) & set(range(theirs[0], theirs[1] + 1))
    door, guest = Keeper(keeper), Caller(caller, "a")
    if not common:
        with pytest.raises(Refused, match="of the protocol"):
            door.welcome(guest.hello(door.challenge()))
        return
    came, welcome = door.welcome(guest.hello(door.challenge()))
    assert came.protocol == guest.welcomed(welcome).protocol == max(common)


def test_a_keeper_that_has_no_version_in_common_names_both() -> None:
    old = identity("b", newest=1, oldest=1)
    assert refusal(identity("a", newest=4, oldest=3), old) == (
        "node b speaks version 1 of the protocol, node a version 3 to 4: upgrade the older one"
    )


def test_a_caller_that_has_no_version_in_common_names_both() -> None:
    old = identity("a", newest=1, oldest=1)
    assert refusal(old, identity("b", newest=4, oldest=3)) == (
        "node a speaks version 1 of the protocol, node b version 3 to 4: upgrade the older one"
    )


# --- proofs


def test_another_secret_is_refused() -> None:
    stranger = identity("b", secret=b"another secret, as long")
    assert refusal(A, stranger) == "node b does not know the cluster's secret"


def test_a_keeper_of_another_secret_is_not_entered() -> None:
    door, guest = Keeper(A), Caller(B, "a")
    guest.hello(door.challenge())
    forged = Welcome(protocol=2, node="a", incarnation="x", proof=bytes(32)).SerializeToString()
    with pytest.raises(Refused, match="node a does not know the cluster's secret"):
        guest.welcomed(forged)


def test_a_hello_that_was_listened_to_is_refused_on_another_connection() -> None:
    door = Keeper(A)
    hello = Caller(B, "a").hello(door.challenge())
    door.welcome(hello)
    with pytest.raises(Refused, match="does not know"):
        Keeper(A).welcome(hello)


def test_a_hello_is_of_no_use_at_another_nodes_door() -> None:
    """Somebody calls himself node c, has node b prove to him, and takes the proof to node a."""
    challenge = Challenge.FromString((door := Keeper(A)).challenge())
    challenge.node = "c"
    hello = Caller(B, "c").hello(challenge.SerializeToString())
    with pytest.raises(Refused, match="does not know"):
        door.welcome(hello)


def test_a_challenge_sent_back_is_not_answered_by_our_own_proof() -> None:
    """Somebody who does not know the secret has us answer our own challenge as its caller."""
    door = Keeper(A)
    challenge = Challenge.FromString(door.challenge())
    challenge.node = "b"  # we call at b, where the stranger sits
    hello = Hello.FromString(Caller(A, "b").hello(challenge.SerializeToString()))
    hello.name = "b"
    with pytest.raises(Refused, match="does not know"):
        door.welcome(hello.SerializeToString())


def test_the_proof_of_a_hello_is_none_of_a_welcome() -> None:
    door, guest = Keeper(A), Caller(B, "a")
    hello = Hello.FromString(guest.hello(door.challenge()))
    reflected = Welcome(
        protocol=2, node="a", incarnation="b-1", software="0.1.0", proof=hello.proof
    )
    with pytest.raises(Refused, match="does not know"):
        guest.welcomed(reflected.SerializeToString())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("protocol", 1), ("oldest_protocol", 2), ("incarnation", "x"), ("software", "x")),
        *(("name", "c"), ("nonce", bytes(32)), ("nonce", b""), ("proof", b"")),
    ],
)
def test_nothing_of_a_hello_can_be_changed_on_its_way(key: str, value: object) -> None:
    door = Keeper(A)
    hello = Hello.FromString(Caller(B, "a").hello(door.challenge()))
    setattr(hello, key, value)
    with pytest.raises(Refused, match="does not know"):
        door.welcome(hello.SerializeToString())


@pytest.mark.parametrize(
    ("key", "value"), [("protocol", 1), ("incarnation", "x"), ("software", "x"), ("proof", b"")]
)
def test_nothing_of_a_welcome_can_be_changed_on_its_way(key: str, value: object) -> None:
    door, guest = Keeper(A), Caller(B, "a")
    welcome = Welcome.FromString(door.welcome(guest.hello(door.challenge()))[1])
    setattr(welcome, key, value)
    with pytest.raises(Refused, match="does not know"):
        guest.welcomed(welcome.SerializeToString())


def test_the_newest_version_cannot_be_talked_down_on_the_way() -> None:
    door = Keeper(A)
    challenge = Challenge.FromString(door.challenge())
    challenge.protocol = 1
    with pytest.raises(Refused, match="does not know"):
        door.welcome(Caller(B, "a").hello(challenge.SerializeToString()))


def test_a_challenge_without_a_nonce_is_not_answered() -> None:
    challenge = Challenge(protocol=2, node="a", nonce=b"short").SerializeToString()
    with pytest.raises(Refused, match="no challenge"):
        Caller(B, "a").hello(challenge)


def test_a_welcome_before_a_hello_is_refused() -> None:
    with pytest.raises(Refused, match="before there was a HELLO"):
        Caller(B, "a").welcomed(b"")


@given(st.binary(max_size=200))
def test_garbage_is_refused(data: bytes) -> None:
    with pytest.raises(Refused):
        Keeper(A).welcome(data)
    with pytest.raises(Refused):
        Caller(B, "a").hello(data)
    guest = Caller(B, "a")
    guest.hello(Keeper(A).challenge())
    with pytest.raises(Refused):
        guest.welcomed(data)


# --- names


def test_a_node_that_is_not_in_our_file_is_refused() -> None:
    assert refusal(A, identity("d")) == "node d is not in node a's cluster.yaml"


def test_a_node_of_our_own_name_is_refused() -> None:
    assert "says that it is node a, which is this one" in refusal(A, identity("a"))


def test_another_node_than_was_wanted_is_not_entered() -> None:
    with pytest.raises(Refused, match="node c is there, not node a"):
        Caller(B, "a").hello(Keeper(identity("c")).challenge())


def test_a_name_that_could_disturb_a_terminal_is_not_repeated() -> None:
    challenge = Challenge(protocol=2, node="\x1b[2J", nonce=bytes(32)).SerializeToString()
    with pytest.raises(Refused, match="a nameless node is there"):
        Caller(B, "a").hello(challenge)


def test_the_certificate_must_be_that_of_the_node() -> None:
    assert refusal(A, B, frozenset({"c"})) == (
        "it says that it is node b, but its certificate is c's"
    )
    door = Keeper(A)
    door.welcome(Caller(B, "a").hello(door.challenge()), frozenset({"b", "b.internal"}))


def test_others_than_routers_are_refused() -> None:
    hello = Hello(protocol=1, role="http", name="b").SerializeToString()
    with pytest.raises(Refused, match="only routers of other nodes come in here, not 'http'"):
        Keeper(A).welcome(hello)


def test_who_disagrees_is_refused_by_the_name_of_the_key() -> None:
    other = identity("b", agreement={**A.agreement, "data_types.wine.features": "g"})
    assert refusal(A, other) == (
        "cluster.yaml of node b: data_types.wine.features differs from node a's"
    )
