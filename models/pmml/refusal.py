"""What the compiler does with what it does not know: it says so."""


class NotCompiled(Exception):
    """Valid PMML that uses something the compiler does not know, so another engine must score it.

    `reason` names the element, the attribute and the value at fault, and the line. It says nothing
    against the model: the reader does not guess what it cannot compute exactly.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
