from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orchestrator.commands.egress import as_data, rendered, site_of
from orchestrator.commands.egress_rules import Peer
from orchestrator.core.errors import SettingsError, UsageError

if TYPE_CHECKING:
    from tests.orchestrator.commands.conftest import Write

NODES = """
listen: {address: "0.0.0.0:50050", insecure: true}
nodes:
  - {name: edge-1, tier: edge, address: "127.0.0.1:50051", insecure: true}
  - {name: edge-2, tier: edge, address: "unix:/run/edge.sock", insecure: true}
  - {name: edge-3, tier: edge, attach: true}
  - {name: edge-4, tier: edge, address: "localhost:50051", insecure: true}
  - {name: cloud-1, tier: cloud, address: "10.0.0.2:50052"}
  - {name: cloud-2, tier: cloud, address: "gpu.example:443"}
  - {name: fleet, tier: cloud, zone: "fleet.example:50052"}
"""

KNOWN = {
    "10.0.0.2:50052": {"10.0.0.2:50052"},
    "gpu.example:443": {"[2001:db8::7]:443", "192.0.2.7:443"},
    "fleet.example:50052": {"192.0.2.10:50052", "192.0.2.9:50052"},
    "time.example:123": {"192.0.2.1:123"},
}


async def look_up(zone: str) -> set[str]:
    if zone not in KNOWN:
        raise OSError("no such name")
    return KNOWN[zone]


async def test_only_far_nodes_that_are_dialled_are_peers(write: "Write") -> None:
    site = await site_of(write(NODES), look_up=look_up)
    assert site.peers == (
        Peer("cloud-1", "10.0.0.2:50052", 50052, ("10.0.0.2",)),
        Peer("cloud-2", "gpu.example:443", 443, ("192.0.2.7", "2001:db8::7")),
        Peer("fleet", "fleet.example:50052", 50052, ("192.0.2.9", "192.0.2.10"), zone=True),
    )


async def test_the_notes_say_what_a_reader_has_to_know(write: "Write") -> None:
    notes = (await site_of(write(NODES), look_up=look_up)).notes
    assert [note.split()[0] for note in notes if "this machine" in note] == [
        "edge-1", "edge-2", "edge-4",
    ]  # fmt: skip
    text = "\n".join(notes)
    assert "cloud-2 is at gpu.example:443: 192.0.2.7, 2001:db8::7 now" in text
    assert "fleet is the zone fleet.example:50052" in text
    assert "Nodes attach by dialling 0.0.0.0:50050: incoming" in text
    assert "give --dns" in text
    assert "cloud-1" not in text


async def test_a_named_resolver_leaves_nothing_to_mind(write: "Write") -> None:
    site = await site_of(write(NODES), dns=["10.0.0.53", "fd00:0::53"], look_up=look_up)
    assert site.dns == ("10.0.0.53", "fd00::53")
    assert "--dns" not in "\n".join(site.notes)


async def test_more_places_may_be_allowed(write: "Write") -> None:
    site = await site_of(write(NODES), allowed=["time.example:123"], look_up=look_up)
    assert site.peers[-1].addresses == ("192.0.2.1",)
    assert "192.0.2.1 . 123" in rendered(site, "nftables")
    assert "192.0.2.1/32" in rendered(site, "kubernetes")


async def test_a_name_without_an_address_is_an_error_with_a_cure(write: "Write") -> None:
    path = write("nodes: [{name: gone, tier: cloud, address: 'gone.example:1'}]")
    with pytest.raises(SettingsError, match="gone: gone.example:1 has no address here: run this"):
        await site_of(path, look_up=look_up)


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"dns": ["ns.example"]}, "--dns 'ns.example' is no IP address"),
        ({"allowed": ["somewhere"]}, "--allow: 'somewhere' has no port"),
        ({"selector": "edge"}, "'edge' is no label"),
        ({"selector": "a=b\nc"}, "is no label"),
    ],
)
async def test_what_is_written_wrongly_is_named(
    write: "Write", told: dict[str, object], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        await site_of(write(NODES), look_up=look_up, **told)  # type: ignore[arg-type]


async def test_each_form_refuses_what_it_cannot_say(write: "Write") -> None:
    path: Path = write(NODES)
    with pytest.raises(UsageError, match="--dns cluster is for --format kubernetes"):
        rendered(await site_of(path, dns=["cluster"], look_up=look_up), "nftables")
    with pytest.raises(UsageError, match="cannot log"):
        rendered(await site_of(path, log=True, look_up=look_up), "kubernetes")


async def test_programs_get_the_rules_and_what_they_are_made_of(write: "Write") -> None:
    site = await site_of(write(NODES), look_up=look_up)
    data = as_data(site, "nftables")
    assert data["rules"] == rendered(site, "nftables")
    assert [peer["name"] for peer in data["peers"]] == ["cloud-1", "cloud-2", "fleet"]
    assert data["notes"] == site.notes
