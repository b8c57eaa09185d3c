from collections.abc import Sequence

import pytest

from orchestrator.privacy.recognisers.mail import EmailRecogniser
from orchestrator.privacy.redact import redact


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ("write to ada.adler@example.com.", ["ada.adler@example.com"]),
        ("<ben+shop@sub.example.co.uk>", ["ben+shop@sub.example.co.uk"]),
        ("ADA@EXAMPLE.COM,ben@example.org", ["ADA@EXAMPLE.COM", "ben@example.org"]),
        ("jürgen@münchen.example", ["jürgen@münchen.example"]),
        ("mail a_b-c@x-y.example!", ["a_b-c@x-y.example"]),
        ("price @ 5 euros, see me@work", []),
        ("I am @ home. Then I eat at noon.", []),
        ("python\n@atheris.instrument_func\ndef f", []),
        ("`@count.on`", []),
        ("Look at the dot on the map, at the top.", []),
        ("", []),
    ],
)
def test_addresses_are_found(text: str, addresses: Sequence[str]) -> None:
    seen = [text[span.start : span.end] for span in EmailRecogniser().find(text)]
    assert list(dict.fromkeys(seen)) == addresses


@pytest.mark.parametrize(
    "address",
    [
        "o'brien@example.com",
        "mary&john@example.com",
        "first!last@example.com",
        "ada (at) example (dot) com",
        "ada [at] example.com",
        "ada at example dot com",
        "ada @ example . com",
        "a d a @ e x a m p l e . c o m",
        "ada@exam\nple.com",
        "ada.ad\nler@example.com",
        "ada@\u200bexample.com",
        "ａｄａ＠ｅｘａｍｐｌｅ．ｃｏｍ",
        "аdа@ехаmрlе.соm",
    ],
)
def test_an_address_is_masked_whole_however_it_is_written(address: str) -> None:
    assert redact(f"to {address}, please").text == "to [EMAIL], please"


def test_the_word_in_the_line_before_an_address_stays() -> None:
    assert redact("write to\nada@example.com\nsoon").text == "write to\n[EMAIL]\nsoon"
    header = "From: ada@example.com\nDescription-Content-Type: text/py3"
    assert redact(header).text == header.replace("ada@example.com", "[EMAIL]")
    assert redact("@app.route\ndef call(): ...").counts == {}
    assert redact("I am here.\nada@example.com").text == "I am here.\n[EMAIL]"
