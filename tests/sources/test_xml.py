"""Documents of XML from anybody."""

import pytest

from xsr.core.errors import ProductError
from xsr.sources.xml import DEPTH, parse_xml

LAUGHS = "".join(f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(9))


@pytest.mark.parametrize(
    "text",
    [
        f'<!DOCTYPE l [<!ENTITY a "{"x" * 100}">{LAUGHS}]><l>&j;</l>',
        '<!DOCTYPE l [<!ENTITY e SYSTEM "file:///etc/passwd">]><l>&e;</l>',
        '<!DOCTYPE l [<!ENTITY % e SYSTEM "http://127.0.0.1:9/x.dtd"> %e;]><l/>',
        '<!DOCTYPE l SYSTEM "http://127.0.0.1:9/x.dtd"><l/>',
        "<!DOCTYPE l><l/>",
    ],
)
def test_document_types_and_entities_are_refused(text):
    with pytest.raises(ProductError, match=r"MTD\.xml declares a document type or entities; expected plain XML"):
        parse_xml(text.encode(), "MTD.xml")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<a",
        b"\0\0",
        b"<a>&undefined;</a>",
        b'<?xml version="1.0" encoding="nonsense"?><a/>',
        b'<?xml version="1.0" encoding="utf-7"?><a/>',
        b"<a>" * (DEPTH + 1) + b"</a>" * (DEPTH + 1),
    ],
)
def test_what_is_no_document_is_refused_by_name(content):
    with pytest.raises(ProductError, match=r"MTD\.xml is damaged: .+ Download the product again"):
        parse_xml(content, "MTD.xml")


def test_a_document_is_read_as_it_is():
    tree = parse_xml(b'<?xml version="1.0" encoding="UTF-8"?><a xmlns:x="u"><x:b c="1"> \xc3\xa9 </x:b></a>', "a.xml")
    found = tree.find(".//{*}b")
    assert (found.get("c"), found.text) == ("1", " é ")
    assert parse_xml(b"<a>" * DEPTH + b"</a>" * DEPTH, "a.xml").tag == "a"
