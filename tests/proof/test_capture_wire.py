"""Packets to streams, streams to what was said, and the proxy that records without packets."""

import asyncio
import random
import socket
import struct
from pathlib import Path

import hpack
import pytest

from benchmarks.proofs.capture import http2, proxy
from benchmarks.proofs.capture.tcp import Stream, assemble

A, B = ("10.0.0.1", 40000), ("10.0.0.2", 50052)


def packet(number: int, payload: bytes, flags: int = 0, padding: int = 0) -> bytes:
    """Return an Ethernet packet with a TCP segment from A to B."""
    tcp = struct.pack(">HHIIBBHHH", A[1], B[1], number % 2**32, 0, 5 << 4, flags, 0, 0, 0)
    size = 20 + len(tcp) + len(payload)
    hosts = socket.inet_aton(A[0]) + socket.inet_aton(B[0])
    ip = struct.pack(">BBHHHBBH", 0x45, 0, size, 0, 0, 64, 6, 0) + hosts
    return bytes(12) + b"\x08\x00" + ip + tcp + payload + bytes(padding)


@pytest.mark.parametrize("first", [0, 5, 2**32 - 30])
def test_segments_in_any_order_and_twice_are_one_stream(first: int) -> None:
    data = random.Random(1).randbytes(1000)
    cuts = [(place, data[place : place + 70]) for place in range(0, 1000, 50)]
    random.Random(2).shuffle(cuts)
    packets = [packet(first + 1 + place, part, padding=6) for place, part in cuts]
    capture = assemble([packet(first, b"", flags=2), *packets])
    assert capture.streams == [Stream(A, B, data)]
    assert capture.packets == 21


def test_what_was_never_seen_is_counted() -> None:
    capture = assemble([packet(0, b"", 2), packet(1, b"abc"), packet(9, b"xyz")])
    assert capture.streams == [Stream(A, B, b"abc" + bytes(5) + b"xyz", missing=5)]


def test_two_connections_of_the_same_ports_are_two_streams() -> None:
    packets = [packet(0, b"", 2), packet(1, b"one"), packet(900, b"", 2), packet(901, b"two")]
    assert sorted(stream.data for stream in assemble(packets).streams) == [b"one", b"two"]


def test_a_segment_that_is_sent_again_with_other_bytes_is_an_error() -> None:
    with pytest.raises(ValueError, match="other bytes"):
        assemble([packet(0, b"", 2), packet(1, b"abc"), packet(1, b"axc")])


def test_other_protocols_are_kept_whole() -> None:
    arp = bytes(12) + b"\x08\x06" + b"who has it"
    assert assemble([arp, packet(1, b"x")]).other == arp


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    head = len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big")
    return head + payload


def message(data: bytes, compressed: bool = False) -> bytes:
    return bytes([compressed]) + len(data).to_bytes(4, "big") + data


def test_headers_are_decoded_and_bodies_lose_their_frames() -> None:
    block = hpack.Encoder().encode([("grpc-message", "a secret here"), ("grpc-encoding", "gzip")])
    assert b"a secret here" not in block  # it is Huffman-coded
    body = message(b"hello there") + message(b"z", compressed=True)
    said = http2.read(
        http2.PREFACE
        + frame(1, 0x20, 1, bytes(5) + block[:4])
        + frame(9, 0x4, 1, block[4:])
        + frame(0, 0, 1, body[:9])
        + frame(0, 0, 3, message(b"beside"))
        + frame(0, 0x8, 1, b"\x02" + body[9:] + b"  ")
        + frame(0, 0, 1, b"cut")[:-1]
    )
    assert said.headers == b"grpc-message: a secret here\ngrpc-encoding: gzip"
    assert said.encodings == ["gzip"]
    assert body in said.bodies
    assert (said.messages, said.compressed, said.broken) == (3, 1, 11)


async def test_the_proxy_records_both_ways_and_can_cut(tmp_path: Path) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.readexactly(4)).upper())

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    recording = proxy.RecordingProxy("127.0.0.1", server.sockets[0].getsockname()[1], tmp_path)
    way = await asyncio.start_server(recording.meet, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*way.sockets[0].getsockname())
    writer.write(b"ping")
    assert await reader.readexactly(4) == b"PING"
    recording.cut()
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await reader.readexactly(1)
    server.close()
    way.close()
    streams = proxy.read(tmp_path).streams
    assert {(stream.source[0], stream.data) for stream in streams} == {
        ("edge", b"ping"), ("cloud", b"PING"),
    }  # fmt: skip
