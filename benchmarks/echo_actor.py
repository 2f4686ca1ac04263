"""The actor that benchmarks/door.py asks: actors cannot live in a script's __main__."""

from typing import Any

from thespian.actors import Actor, ActorAddress


class EchoActor(Actor):
    """Answers each message with itself."""

    def receiveMessage(self, msg: Any, sender: ActorAddress) -> None:
        """Answer, unless it is a message of the actor system's own."""
        if isinstance(msg, bytes):
            self.send(sender, msg)
