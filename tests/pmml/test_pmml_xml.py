"""PMML text is read without fetching, expanding or overlooking anything."""

import pytest

from repertory.errors import ModelRejected
from repertory.models.pmml.refusal import NotCompiled
from repertory.models.pmml.xml import MAX_DEPTH, Element, Shape, parse


def test_the_namespace_is_left_out() -> None:
    root = parse(b'<p:PMML xmlns:p="http://www.dmg.org/PMML-4_2"><p:Header/></p:PMML>')
    assert [child.tag for child in root.children] == ["Header"]


def test_elements_of_other_namespaces_keep_theirs() -> None:
    root = parse(b'<PMML xmlns="http://www.dmg.org/PMML-3_0"><x:Header xmlns:x="urn:x"/></PMML>')
    assert [child.tag for child in root.children] == ["urn:x}Header"]


def test_where_the_schema_lies_is_no_attribute() -> None:
    root = parse(
        b'<PMML xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" version="4.4"'
        b' xsi:schemaLocation="http://www.dmg.org/PMML-4_4 somewhere"/>'
    )
    assert root.attributes == {"version": "4.4"}


def test_text_is_kept_whole_however_it_is_cut() -> None:
    numbers = " ".join(map(str, range(20_000)))
    text = numbers.replace("7 8", "7&#32;8").replace("9 10 ", "9<!-- x --> <?y?>10<![CDATA[ ]]>")
    assert parse(f"<PMML>\n {text}</PMML>".encode()).text.split() == numbers.split()


def test_an_element_knows_its_line() -> None:
    root = parse(b'<PMML>\n\n<Header\n id="h"/></PMML>')
    assert root.children[0].where == "<Header> 'h' in line 3"


@pytest.mark.parametrize(
    "content",
    [
        b"<!DOCTYPE PMML><PMML/>",
        b'<!DOCTYPE PMML SYSTEM "http://127.0.0.1:1/pmml.dtd"><PMML/>',
        b'<!DOCTYPE PMML [<!ENTITY x SYSTEM "file:///etc/passwd">]><PMML>&x;</PMML>',
        b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]><PMML>&b;</PMML>',
        b'<!DOCTYPE x [<!ENTITY % p SYSTEM "http://127.0.0.1:1/"> %p;]><PMML/>',
    ],
)
def test_a_doctype_is_refused_before_it_does_anything(content: bytes) -> None:
    with pytest.raises(ModelRejected, match="DOCTYPE"):
        parse(content)


@pytest.mark.parametrize(
    "content",
    [
        b"not XML at all",
        b"\x00\x01\x02\xff",
        b"\x08\x03\x12\x04wine",
        b"<PMML><Header></PMML>",
        b"<PMML><Header/>",
        b"<PMML>&undeclared;</PMML>",
        b"<PMML/><PMML/>",
        b'<?xml version="1.0" encoding="no-such-encoding"?><PMML/>',
        b'<PMML a="1" a="2"/>',
    ],
)
def test_what_is_not_well_formed_is_refused(content: bytes) -> None:
    with pytest.raises(ModelRejected, match="not well-formed"):
        parse(content)


@pytest.mark.parametrize("content", [b"", b"  \n "])
def test_an_empty_document_is_refused(content: bytes) -> None:
    with pytest.raises(ModelRejected, match="empty"):
        parse(content)


def test_another_kind_of_document_is_refused_by_its_root() -> None:
    with pytest.raises(ModelRejected, match="<html>"):
        parse(b"<html><body/></html>")


def test_deep_nesting_is_refused_with_its_line() -> None:
    with pytest.raises(ModelRejected, match=f"line 2: elements nest more than {MAX_DEPTH}"):
        parse(b"<PMML>\n" + b"<Node>" * 10_000)


def test_a_shape_refuses_an_attribute_that_it_does_not_know() -> None:
    element = Element("Node", {"id": "7", "colour": "red"}, 3)
    with pytest.raises(NotCompiled, match=r"<Node> '7' in line 3: the attribute colour='red'"):
        Shape(attributes="id").check(element)


def test_a_shape_refuses_a_child_that_it_does_not_know() -> None:
    element = Element("Node", {}, 3)
    element.children.append(Element("Surprise", {}, 4))
    with pytest.raises(NotCompiled, match=r"<Node> in line 3: <Surprise> in line 4"):
        Shape(children="Node").check(element)


@pytest.mark.parametrize("text", ["", "1_000", "0x10", "abc", "1e", "inf", "--1"])
def test_what_python_alone_takes_for_a_number_is_none(text: str) -> None:
    with pytest.raises(ModelRejected, match="not a number"):
        Element("Node", {"score": text}, 1).number("score")


@pytest.mark.parametrize(("text", "number"), [("1.5e-3", 0.0015), (" .5 ", 0.5), ("-INF", -1e999)])
def test_numbers_are_read_as_xml_writes_them(text: str, number: float) -> None:
    assert Element("Node", {"score": text}, 1).number("score") == number
