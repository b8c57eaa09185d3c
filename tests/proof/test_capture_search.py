"""What the search of the capture proof sees, and what it cannot be fooled by."""

import base64
import random
from collections.abc import Callable
from urllib.parse import quote_from_bytes

import pytest

from benchmarks.proofs.capture.search import HALF, Found, Index
from benchmarks.proofs.capture.tokens import LENGTH, Tokens

COUNT = 5000
ENCODINGS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "as it is": ("plain", lambda text: text),
    "in capitals": ("plain", bytes.upper),
    "first half": ("plain", lambda text: text[:HALF]),
    "second half": ("plain", lambda text: text[HALF:]),
    "middle": ("plain", lambda text: text[7 : 7 + HALF]),
    "reversed": ("reversed", lambda text: text[::-1]),
    "hex": ("hex", lambda text: text.hex().encode()),
    "hex in capitals": ("hex", lambda text: text.hex().upper().encode()),
    "base64": ("base64", base64.b64encode),
    "base64, second alignment": ("base64", lambda text: base64.b64encode(b"x" + text)),
    "base64, third alignment": ("base64", lambda text: base64.b64encode(b"xy" + text)),
    "base64 for URLs": ("base64", lambda text: base64.urlsafe_b64encode(b"\xff\xfe" + text)),
    "base64 in lines": ("base64", lambda text: base64.encodebytes(bytes(30) + text)),
    "URL-encoded": ("url", lambda text: "".join(f"%{byte:02x}" for byte in text).encode()),
    "partly URL-encoded": ("url", lambda t: quote_from_bytes(t[:9]).encode() + b"%67" + t[10:]),
    "UTF-16": ("utf-16", lambda text: text.decode().encode("utf-16-le")),
    "UTF-16, big end first": ("utf-16", lambda text: text.decode().encode("utf-16-be")),
    "UTF-32, as numpy has texts": ("utf-32", lambda text: text.decode().encode("utf-32-le")),
}


@pytest.fixture(scope="module")
def texts() -> list[str]:
    tokens = Tokens(COUNT, seed=1)
    return [tokens.text() for _ in range(COUNT)]


@pytest.fixture(scope="module")
def index() -> Index:
    tokens = Tokens(COUNT, seed=1)
    for _ in range(COUNT):
        tokens.text()
    return Index(tokens.used)


def found_in(index: Index, data: bytes) -> Found:
    found = Found()
    index.search(data, found)
    return found


@pytest.mark.parametrize("name", ENCODINGS)
def test_a_token_is_found_in_every_encoding_wherever_it_stands(
    name: str, index: Index, texts: list[str]
) -> None:
    kind, encode = ENCODINGS[name]
    source = random.Random(name)
    for _ in range(40):
        number = source.randrange(COUNT)
        hidden = encode(texts[number].encode())
        if name == "partly URL-encoded":
            hidden = hidden.replace(b"%67", f"%{ord(texts[number][9]):02x}".encode())
        around = [source.randbytes(source.randrange(400)) for _ in range(2)]
        assert found_in(index, hidden.join(around)).seen[kind] >= {number}


def test_a_token_is_found_across_the_borders_of_blocks(
    index: Index, texts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.proofs.capture.search._BLOCK", 2048)
    for place in range(2000, 2100):
        data = bytes(place) + texts[3].encode().hex().encode() + bytes(3000)
        assert found_in(index, data).seen["hex"] == {3}


def test_a_token_that_a_border_cuts_is_found_by_its_longer_part(
    index: Index, texts: list[str]
) -> None:
    for place in range(1, LENGTH):
        data = texts[7][:place] + "|13-bytes-hdr|" + texts[7][place:]
        found = found_in(index, data.encode())
        assert found.seen["plain"] == {7}
        assert found.whole == set()


def test_only_what_stands_there_whole_counts_as_whole(index: Index, texts: list[str]) -> None:
    assert found_in(index, texts[1].encode()).whole == {1}
    assert found_in(index, texts[1][:-1].encode()).whole == set()
    assert found_in(index, texts[1].encode().hex().encode()).whole == set()


def test_less_than_half_a_token_and_noise_are_no_hits(index: Index, texts: list[str]) -> None:
    short = "|".join(text[: HALF - 1] for text in texts).encode()
    assert not any(found_in(index, short).seen.values())
    assert not any(found_in(index, random.Random(1).randbytes(2**20)).seen.values())
    other = Tokens(COUNT, seed=2)
    assert not any(found_in(index, "".join(other.text() for _ in range(99)).encode()).seen.values())
    assert not any(found_in(index, b"").seen.values())


def test_numbers_are_found_as_they_are_written() -> None:
    tokens = Tokens(10, seed=3, digits=True)
    numbers = [tokens.number() for _ in range(10)]
    assert found_in(Index(tokens.used), f'{{"n":{numbers[4]}}}'.encode()).whole == {4}


def test_tokens_are_given_out_once() -> None:
    tokens = Tokens(2, seed=1)
    assert tokens.text() != tokens.text()
    with pytest.raises(RuntimeError, match="make more"):
        tokens.text()
