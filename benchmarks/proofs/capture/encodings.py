"""What bytes may hide behind: the capture is decoded in every way, instead of encoding tokens."""

from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

import numpy as np

from benchmarks.proofs.capture.tokens import Bytes

_UPPER = np.arange(256, dtype=np.uint8)
_UPPER[ord("A") : ord("Z") + 1] += 32


def _table(alphabet: bytes, *more: tuple[str, int]) -> Bytes:
    """Return what each character stands for; those of no meaning count as zero."""
    table = np.zeros(256, np.uint8)
    table[np.frombuffer(alphabet, np.uint8)] = np.arange(len(alphabet))
    for character, value in more:
        table[ord(character)] = value
    return table


_HEX = _table(b"0123456789abcdef", *((d, 10 + n) for n, d in enumerate("ABCDEF")))
_BASE64 = _table(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", ("-", 62), ("_", 63)
)


def views(data: bytes) -> Iterator[tuple[str, Bytes]]:
    """Yield bytes as they are and decoded in every way, each in lower case, with its name."""
    raw = np.frombuffer(data, np.uint8)
    for name, view in _decoded(data, raw):
        yield name, _UPPER[view]


def _decoded(data: bytes, raw: Bytes) -> Iterator[tuple[str, Bytes]]:
    yield "plain", raw
    yield "reversed", raw[::-1]
    if b"%" in data:
        yield "url", np.frombuffer(unquote_to_bytes(data), np.uint8)
    for start in range(2):
        yield "utf-16", raw[start::2]
        yield "hex", _hex(raw[start:])
    for start in range(4):
        yield "utf-32", raw[start::4]
        yield "base64", _base64(raw[start:])


def _hex(raw: Bytes) -> Bytes:
    pairs = _HEX[raw[: len(raw) // 2 * 2]].reshape(-1, 2)
    out: Bytes = np.left_shift(pairs[:, 0], 4, dtype=np.uint8) | pairs[:, 1]
    return out


def _base64(raw: Bytes) -> Bytes:
    """Return what four characters each stand for, both alphabets being one."""
    six = _BASE64[raw[: len(raw) // 4 * 4]].reshape(-1, 4)
    out = np.empty((len(six), 3), np.uint8)
    out[:, 0] = six[:, 0] << 2 | six[:, 1] >> 4
    out[:, 1] = six[:, 1] << 4 | six[:, 2] >> 2
    out[:, 2] = six[:, 2] << 6 | six[:, 3]
    return out.reshape(-1)
