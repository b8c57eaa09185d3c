"""A TCP proxy that records: `python -m benchmarks.proofs.capture.proxy HOST:PORT FOLDER`.

It is what records where network namespaces are not possible. It sees what goes through it alone.
SIGUSR1 cuts all connections.
"""

import asyncio
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from benchmarks.proofs.capture.tcp import Capture, Stream

_PIECE = 2**16
UP, DOWN = "up", "down"


class RecordingProxy:
    """Carries connections to a target and writes both directions of each to files.

    Args:
        host: The target.
        port: Its port.
        folder: Where the files go.
    """

    def __init__(self, host: str, port: int, folder: Path) -> None:
        self._target = host, port
        self._folder = folder
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._count = 0

    async def meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection."""
        try:
            there = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        self._count += 1
        name = f"{self._count:06}"
        self._writers |= {writer, there[1]}
        for one, other, way in ((reader, there[1], UP), (there[0], writer, DOWN)):
            file = (self._folder / f"{name}.{way}").open("wb", buffering=0)
            task = asyncio.create_task(self._carry(one, other, file))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, file: BinaryIO
    ) -> None:
        with file, suppress(ConnectionError):
            while piece := await reader.read(_PIECE):
                file.write(piece)
                writer.write(piece)
                await writer.drain()
        writer.close()
        self._writers.discard(writer)

    def cut(self) -> None:
        """End all connections at once, without a goodbye."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()


def read(folder: Path) -> Capture:
    """Return what a proxy has recorded; a direction counts as one packet a piece."""
    capture = Capture()
    for path in sorted(folder.iterdir()):
        if data := path.read_bytes():
            ends = ("edge", 0), ("cloud", 0)
            source, target = ends if path.suffix == f".{UP}" else ends[::-1]
            capture.streams.append(Stream(source, target, data))
            capture.packets += -(-len(data) // _PIECE)
    return capture


async def _main(target: str, folder: Path) -> None:
    host, _, port = target.rpartition(":")
    proxy, loop = RecordingProxy(host, int(port), folder), asyncio.get_running_loop()
    over = asyncio.Event()
    loop.add_signal_handler(signal.SIGUSR1, proxy.cut)
    loop.add_signal_handler(signal.SIGTERM, over.set)
    server = await asyncio.start_server(proxy.meet, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await over.wait()
    server.close()
    proxy.cut()
    await asyncio.sleep(0.1)


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], Path(sys.argv[2])))
