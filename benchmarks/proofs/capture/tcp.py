"""Packets to streams: the payload of each TCP connection and direction, by sequence number."""

import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field

Buffer = bytes | memoryview
Ends = tuple[tuple[str, int], tuple[str, int]]
"""Who sent something to whom, each as host and port."""

_ETHERNET, _IPV4, _IPV6, _TCP = 14, 0x0800, 0x86DD, 6
_SYN = 2
_FORWARD = 2**31


@dataclass(frozen=True, slots=True)
class Stream:
    """What one end of a connection sent to the other.

    Attributes:
        source: The sender, as host and port.
        target: The receiver.
        data: All bytes, in order; zeros stand for what was never seen.
        missing: How many bytes were never seen.
    """

    source: tuple[str, int]
    target: tuple[str, int]
    data: bytes
    missing: int = 0


@dataclass
class Capture:
    """What was recorded.

    Attributes:
        streams: The directions of all TCP connections.
        other: All packets of other protocols, whole, one after the other.
        packets: How many packets there were, of any protocol.
    """

    streams: list[Stream] = field(default_factory=list)
    other: bytes = b""
    packets: int = 0


class _Flow:
    """Segments of one direction."""

    def __init__(self, first: int) -> None:
        self._first = first
        self._segments: list[tuple[int, Buffer]] = []
        self._high = 0

    def add(self, number: int, payload: Buffer) -> None:
        """Keep a segment by its place, however often the sequence number has come round."""
        near = (number - self._first - self._high) % 2**32
        place = self._high + near - (2**32 if near >= _FORWARD else 0)
        self._segments.append((place, payload))
        self._high = max(self._high, place)

    def joined(self) -> tuple[bytes, int]:
        """Return all bytes in order, and how many are missing between them.

        Raises:
            ValueError: A segment was sent again with other bytes, so that one would go unseen.
        """
        out, missing = bytearray(), 0
        end = start = min((place for place, _ in self._segments), default=0)
        for place, payload in sorted(self._segments, key=lambda segment: segment[0]):
            if place > end:
                missing += place - end
                out += bytes(place - end)
                end = place
            again = bytes(payload[: end - place])
            if out[place - start : place - start + len(again)] != again:
                raise ValueError("a segment was sent again with other bytes")
            out += payload[end - place :]
            end = max(end, place + len(payload))
        return bytes(out), missing


def assemble(packets: Iterable[Buffer]) -> Capture:
    """Put recorded Ethernet packets together."""
    capture, flows, other = Capture(), dict[Ends, _Flow](), bytearray()
    ended: list[tuple[Ends, _Flow]] = []
    for packet in packets:
        capture.packets += 1
        if (found := _tcp_segment(packet)) is None:
            other += packet
            continue
        ends, number, flags, payload = found
        if flags & _SYN:
            if ends in flows:
                ended.append((ends, flows[ends]))
            flows[ends] = _Flow(number + 1)
        if len(payload):
            flows.setdefault(ends, _Flow(number)).add(number, payload)
    for ends, flow in [*ended, *flows.items()]:
        data, missing = flow.joined()
        if data:
            capture.streams.append(Stream(*ends, data, missing))
    capture.other = bytes(other)
    return capture


def _tcp_segment(packet: Buffer) -> tuple[Ends, int, int, Buffer] | None:
    """Return ends, sequence number, flags and payload of a TCP packet; None of any other."""
    kind = int.from_bytes(packet[12:14], "big")
    if kind == _IPV4 and packet[_ETHERNET + 9] == _TCP:
        size = (packet[_ETHERNET] & 15) * 4
        end = _ETHERNET + int.from_bytes(packet[_ETHERNET + 2 : _ETHERNET + 4], "big")
        family, hosts = socket.AF_INET, packet[_ETHERNET + 12 : _ETHERNET + 20]
    elif kind == _IPV6 and packet[_ETHERNET + 6] == _TCP:
        size = 40
        end = _ETHERNET + size + int.from_bytes(packet[_ETHERNET + 4 : _ETHERNET + 6], "big")
        family, hosts = socket.AF_INET6, packet[_ETHERNET + 8 : _ETHERNET + 40]
    else:
        return None
    if end == _ETHERNET or end == _ETHERNET + 40:  # a jumbo whose length does not fit its field
        end = len(packet)
    segment = packet[_ETHERNET + size : end]
    source, target, number = struct.unpack_from(">HHI", segment)
    half = len(hosts) // 2
    ends = (
        (socket.inet_ntop(family, hosts[:half]), source),
        (socket.inet_ntop(family, hosts[half:]), target),
    )
    return ends, number, segment[13], segment[segment[12] // 16 * 4 :]
