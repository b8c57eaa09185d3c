"""All places a secret could get to, and what is found in each."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.proofs.capture import http2
from benchmarks.proofs.capture.recording import Recorded
from benchmarks.proofs.capture.search import Found, Index
from benchmarks.proofs.capture.tokens import Tokens

Piles = Mapping[str, list[bytes]]
"""What is searched, by the name of its place."""


@dataclass
class Wire:
    """What was recorded, in figures.

    Attributes:
        packets: Packets, or pieces in a proxy.
        lost: Packets that the kernel lost.
        missing: Bytes of streams that were never seen.
        streams: Directions of connections.
        size: Bytes of payload.
        messages: gRPC messages.
        compressed: gRPC messages that say they are compressed.
        encodings: Other than "identity", as headers name them.
    """

    packets: int = 0
    lost: int = 0
    missing: int = 0
    streams: int = 0
    size: int = 0
    messages: int = 0
    compressed: int = 0
    encodings: list[str] = field(default_factory=list)


def wire_piles(recorded: Recorded, pages: set[int]) -> tuple[Wire, dict[str, list[bytes]]]:
    """Return what was recorded in figures, and as what is searched.

    Args:
        recorded: The recording.
        pages: Ports that speak HTTP/1.
    """
    capture = recorded.capture
    wire = Wire(capture.packets, recorded.lost)
    bytes_, bodies, headers = [capture.other], list[bytes](), list[bytes]()
    for stream in capture.streams:
        wire.streams += 1
        wire.size += len(stream.data)
        wire.missing += stream.missing
        bytes_.append(stream.data)
        if not pages & {stream.source[1], stream.target[1]}:
            said = http2.read(stream.data)
            wire.messages += said.messages
            wire.compressed += said.compressed
            wire.encodings += said.encodings
            bodies.append(said.bodies)
            headers.append(said.headers)
    piles = {"bytes on the wire": bytes_, "bodies on the wire": bodies}
    return wire, piles | {"headers on the wire": headers}


def file_piles(folder: Path, pages: list[str]) -> dict[str, list[bytes]]:
    """Return logs, pages of metrics, what callers saw of errors, and all files as piles."""
    work = [path for path in sorted((folder / "work").rglob("*")) if path.is_file()]
    audits = [path for path in work if ".audit" in path.name]
    piles = {
        "logs of both nodes": [path.read_bytes() for path in sorted((folder / "logs").iterdir())],
        "log of the caller": [(folder / f"caller.{end}").read_bytes() for end in ("log", "err")],
        "errors, as callers get them": [(folder / "errors.txt").read_bytes()],
        "pages of metrics": [page.encode() for page in pages],
        "files": [path.read_bytes() for path in work if path not in audits],
    }
    return piles | ({"audit logs": [path.read_bytes() for path in audits]} if audits else {})


@dataclass
class Findings:
    """Which tokens stand where.

    Attributes:
        seen: Their numbers by group, place and encoding.
        whole: Their numbers by group, of those that stand somewhere whole and plain.
    """

    seen: dict[str, dict[str, dict[str, set[int]]]]
    whole: dict[str, set[int]]

    def counts(self, group: str) -> dict[str, dict[str, int]]:
        """Return how many tokens of a group stand in each place, by encoding."""
        return {
            place: {name: len(numbers) for name, numbers in found.items()}
            for place, found in self.seen[group].items()
        }


def search(groups: Mapping[str, Tokens], piles: Piles) -> Findings:
    """Look for all tokens in all piles, for all groups at once."""
    used = {group: tokens.used for group, tokens in groups.items()}
    starts = dict(zip(used, np.cumsum([0, *map(len, used.values())]).tolist(), strict=False))
    index, places = Index(np.concatenate(list(used.values()))), dict[str, Found]()
    for place, pile in piles.items():
        places[place] = Found()
        for data in pile:
            index.search(data, places[place])
    findings = Findings({group: {} for group in used}, {group: set() for group in used})
    for group, start in starts.items():
        mine = range(start, start + len(used[group]))
        for place, found in places.items():
            kept = {
                name: {n - start for n in seen if n in mine} for name, seen in found.seen.items()
            }
            findings.seen[group][place] = {
                name: numbers for name, numbers in kept.items() if numbers
            }
            findings.whole[group] |= {number - start for number in found.whole if number in mine}
    return findings
