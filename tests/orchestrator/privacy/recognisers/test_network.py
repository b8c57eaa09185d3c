import pytest

from orchestrator.privacy.recognisers.network import IpRecogniser
from orchestrator.privacy.redact import redact


def written_in(text: str) -> list[str]:
    return [text[span.start : span.end] for span in IpRecogniser().find(text)]


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ("from 192.168.10.1 to 10.0.0.255.", ["192.168.10.1", "10.0.0.255"]),
        ("192.168.10.1:8080", ["192.168.10.1"]),
        ("192.168.001.010", ["192.168.001.010"]),
        ("10[.]0[.]0[.]1", ["10[.]0[.]0[.]1"]),
        ("at 2001:db8::1, then", ["2001:db8::1"]),
        ("address fe80::1ff:fe23:4567:890a: refused", ["fe80::1ff:fe23:4567:890a"]),
        ("[2001:db8:0:0:0:0:0:1]:443", ["2001:db8:0:0:0:0:0:1"]),
        ("::ffff:192.0.2.128", ["::ffff:192.0.2.128"]),
    ],
)
def test_addresses_of_both_versions_are_found(text: str, addresses: list[str]) -> None:
    found = written_in(text)
    assert [address for address in addresses if address in found] == addresses
    assert all(any(one in address for address in addresses) for one in found)


@pytest.mark.parametrize(
    "text",
    [
        "version 1.2.3.4",
        "v1.2.3.4",
        "256.1.1.1",
        "1.2.3",
        "1.2.3.4.5",
        "12:30:59",
        "2026-11-25T19:25:47",
        "std::vector and ::1",
        "bound to 127.0.0.1 or 0.0.0.0",
        "a :: b",
    ],
)
def test_versions_times_and_scopes_are_no_addresses(text: str) -> None:
    assert written_in(text) == []


@pytest.mark.parametrize(
    "text",
    ["1 9 2 . 1 6 8 . 1 0 . 1", "192.168.\n10.1", "１９２．１６８．１０．１", "192\u200b.168.10.1"],
)
def test_an_address_is_masked_however_it_is_written(text: str) -> None:
    assert redact(text).text == "[IP]"
