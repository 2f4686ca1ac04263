"""PMML text as a tree of elements, read so that nothing is fetched, expanded or overlooked.

A reader of an element declares, by a `Shape`, which attributes and children it understands; an
element that has any others is refused by name and line. Leaving something out is a decision that
is written down, never an oversight.
"""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, Final, Protocol
from xml.parsers.expat import ExpatError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

from repertory.errors import ModelRejected
from repertory.models.pmml.refusal import NotCompiled

# Deeper than any tree that a learner grows; readers of trees do not recurse, so this is no limit
# of the stack but of patience.
MAX_DEPTH: Final = 2000

_NAMESPACE: Final = re.compile(r"https?://www\.dmg\.org/PMML-[34]_\d(_\d)?$")
_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|-?INF|NaN")


class Located(Protocol):
    """What can say where in the document it stands; asked for only when something is wrong."""

    @property
    def where(self) -> str:
        """Say which element this is."""


class Element:
    """An XML element without its namespace, and the line on which it starts."""

    __slots__ = ("_pieces", "attributes", "children", "line", "tag")

    def __init__(self, tag: str, attributes: dict[str, str], line: int) -> None:
        self.tag = tag
        self.attributes = attributes
        self.children: list[Element] = []
        self.line = line
        self._pieces: list[str] | None = None

    @property
    def text(self) -> str:
        """The text directly within this element; empty if it is only space."""
        return "".join(self._pieces or ())

    @property
    def has_text(self) -> bool:
        """Whether it has any text but space."""
        return self._pieces is not None

    def add_text(self, text: str) -> None:
        """Add a piece of text."""
        if self._pieces is None:
            self._pieces = []
        self._pieces.append(text)

    @property
    def where(self) -> str:
        """Say which element this is, for an error message."""
        name = self.attributes.get("name") or self.attributes.get("id")
        return f"<{self.tag}>{f' {name!r}' if name else ''} in line {self.line}"

    def get(self, attribute: str, default: str = "") -> str:
        """Return an attribute, or `default` where it is absent."""
        return self.attributes.get(attribute, default)

    def require(self, attribute: str) -> str:
        """Return an attribute that PMML requires. Raises ModelRejected without it."""
        try:
            return self.attributes[attribute]
        except KeyError:
            raise ModelRejected(f"{self.where} lacks its attribute {attribute}") from None

    def choice(self, attribute: str, known: Iterable[str], default: str) -> str:
        """Return an attribute that is one of `known`. Raises NotCompiled when it is another."""
        value = self.attributes.get(attribute, default)
        if value not in known:
            raise NotCompiled(f"{self.where}: {attribute}={value!r} is not understood")
        return value

    def number(self, attribute: str, default: float | None = None) -> float:
        """Return a numeric attribute. Raises ModelRejected when it is absent or no number."""
        if default is not None and attribute not in self.attributes:
            return default
        text = self.require(attribute)
        if _NUMBER.fullmatch(text):
            return float(text)
        return parse_number(text, f"{self.where}: {attribute}")

    def optional_number(self, attribute: str) -> float | None:
        """Return a numeric attribute, None where it is absent."""
        return self.number(attribute) if attribute in self.attributes else None

    def find(self, tag: str) -> "Element | None":
        """Return the first child of that tag."""
        return next((child for child in self.children if child.tag == tag), None)

    def find_all(self, tag: str) -> "list[Element]":
        """Return the children of that tag, in order."""
        return [child for child in self.children if child.tag == tag]

    def need(self, tag: str) -> "Element":
        """Return the one child of that tag. Raises ModelRejected when there is none, or more."""
        found = self.find_all(tag)
        if len(found) != 1:
            raise ModelRejected(f"{self.where} has {len(found) or 'no'} <{tag}> where 1 is due")
        return found[0]

    def walk(self) -> "Iterator[Element]":
        """Yield this element and all below it, in the order of the document."""
        stack = [self]
        while stack:
            element = stack.pop()
            yield element
            stack.extend(reversed(element.children))


class Shape:
    """What a reader understands of an element.

    `ignored` attributes are those that cannot change a result. <Extension> children are always
    left out: PMML lets a consumer do so, and none of the exporters puts meaning there.
    """

    def __init__(self, *, attributes: str = "", ignored: str = "", children: str = "") -> None:
        self._attributes = frozenset(f"{attributes} {ignored}".split())
        self._children = frozenset(f"{children} Extension".split())

    def check(self, element: Element) -> Element:
        """Return the element. Raises NotCompiled when it has what is not understood."""
        if not element.attributes.keys() <= self._attributes:
            name = min(element.attributes.keys() - self._attributes)
            raise NotCompiled(
                f"{element.where}: the attribute {name}={element.attributes[name]!r}"
                " is not understood"
            )
        for child in element.children:
            if child.tag not in self._children:
                raise NotCompiled(f"{element.where}: {child.where} is not understood there")
        return element


At = Located | str


def place(at: At) -> str:
    """Return where something stands, as text."""
    return at if isinstance(at, str) else at.where


def parse_number(text: str, at: At) -> float:
    """Return the number that an XML text stands for. Raises ModelRejected when it is none."""
    if not _NUMBER.fullmatch(text.strip()):
        raise ModelRejected(f"{place(at)}: {text!r} is not a number")
    return float(text)


def parse(content: bytes) -> Element:
    """Return the root of a document, a <PMML>.

    Raises ModelRejected for what is not well-formed XML, for a DOCTYPE (with it, entities cannot
    be declared either), for nesting beyond MAX_DEPTH, and for a root that is not PMML.
    """
    if not content.strip():
        raise ModelRejected("the PMML document is empty")
    builder = _Builder()
    try:
        return builder.parse(content)
    except DefusedXmlException as error:
        raise ModelRejected(
            "the PMML document has a DOCTYPE or declares entities, which is refused"
        ) from error
    except (ExpatError, SyntaxError, ValueError, LookupError) as error:
        raise ModelRejected(f"this is not PMML: not well-formed XML: {error}") from error


class _Builder:
    """Builds elements straight from expat's events, with defusedxml's guards in place.

    ElementTree's own events are bypassed because they take most of the time of a large forest and
    do not tell lines.
    """

    def __init__(self) -> None:
        parser: Any = DefusedXMLParser(forbid_dtd=True, forbid_entities=True, forbid_external=True)
        self._parser = parser
        self._expat = parser.parser
        self._expat.ordered_attributes = False
        self._expat.StartElementHandler = self._start
        self._expat.EndElementHandler = self._end
        self._expat.CharacterDataHandler = self._text
        self._expat.DefaultHandlerExpand = None
        self._expat.CommentHandler = None
        self._expat.ProcessingInstructionHandler = None
        self._root = Element("", {}, 0)
        self._stack = [self._root]

    def parse(self, content: bytes) -> Element:
        self._expat.Parse(content, True)
        (root,) = self._root.children
        if root.tag != "PMML":
            raise ModelRejected(f"this is not PMML: the root element is <{root.tag}>")
        return root

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        line = self._expat.CurrentLineNumber
        element = Element(_local(tag), _plain(attributes), line)
        self._stack[-1].children.append(element)
        self._stack.append(element)
        if len(self._stack) > MAX_DEPTH:
            raise ModelRejected(f"line {line}: elements nest more than {MAX_DEPTH} deep")

    def _end(self, _tag: str) -> None:
        self._stack.pop()

    def _text(self, text: str) -> None:
        element = self._stack[-1]
        if element.has_text or not text.isspace():
            element.add_text(text)


@lru_cache(maxsize=1024)
def _local(tag: str) -> str:
    """Return a tag without PMML's namespace; one of another namespace keeps its own."""
    namespace, brace, name = tag.rpartition("}")
    return name if not brace or _NAMESPACE.match(namespace) else tag


def _plain(attributes: dict[str, str]) -> dict[str, str]:
    """Return attributes without those of XML Schema, which say where the schema lies."""
    for name in attributes:
        if "}" in name:
            break
    else:
        return attributes
    return {
        name: value
        for name, value in attributes.items()
        if not name.startswith("http://www.w3.org/")
    }
