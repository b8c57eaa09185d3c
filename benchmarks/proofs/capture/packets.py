"""Records all packets of a network device: `python -m benchmarks.proofs.capture.packets DEV FILE`.

An AF_PACKET socket is what tcpdump reads, too; here nothing needs to be installed, no privilege
is dropped that the file would need, no filter or buffer stands before the file, and the kernel's
own count of packets that were lost is part of the result. The file is a pcap, which Wireshark
reads.
"""

import json
import signal
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

_ALL_PROTOCOLS = 3
_SOL_PACKET, _PACKET_STATISTICS = 263, 6
_BUFFER = 256 * 2**20
_LONGEST = 2**18  # longer than what a device hands over at once
_QUIET_SECONDS = 0.3

_FILE = struct.Struct("<IHHiIII")
_RECORD = struct.Struct("<IIII")


def record(device: str, path: Path) -> None:
    """Write all packets of a device to a file until SIGTERM, and their counts beside it."""
    stopped = False

    def stop(*_: object) -> None:
        nonlocal stopped
        stopped = True

    signal.signal(signal.SIGTERM, stop)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL_PROTOCOLS)) as tap:
        tap.setsockopt(socket.SOL_SOCKET, _force_buffer(), _BUFFER)
        tap.bind((device, 0))
        tap.settimeout(_QUIET_SECONDS)
        with path.open("wb") as file:
            file.write(_FILE.pack(0xA1B2C3D4, 2, 4, 0, 0, _LONGEST, 1))
            print("records", flush=True)
            written = _drain(tap, file, lambda: stopped)
        _, lost = struct.unpack("II", tap.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
    counts = {"packets": written, "lost": lost}
    path.with_suffix(".json").write_text(json.dumps(counts))


def _force_buffer() -> int:
    return getattr(socket, "SO_RCVBUFFORCE", 33)


def _drain(tap: socket.socket, file: BinaryIO, stopped: Callable[[], bool]) -> int:
    """Write packets until it is over and none has come for a while; return how many."""
    written = 0
    while True:
        try:
            packet = tap.recv(_LONGEST)
        except TimeoutError:
            if stopped():
                return written
            continue
        file.write(_RECORD.pack(0, 0, len(packet), len(packet)))
        file.write(packet)
        written += 1


def read(path: Path) -> Iterator[memoryview]:
    """Yield the packets of a file that `record` wrote."""
    data = memoryview(path.read_bytes())
    place = _FILE.size
    while place < len(data):
        *_, length, _ = _RECORD.unpack_from(data, place)
        place += _RECORD.size
        yield data[place : place + length]
        place += length


if __name__ == "__main__":
    record(sys.argv[1], Path(sys.argv[2]))
