"""Field blocks put together byte by byte, as RFC 7541 has them; nothing here keeps a table."""

from __future__ import annotations

from collections.abc import Callable

from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH

# The first octet of each representation (6), and the indices of the static table (A) used here.
INDEXED, INDEXING, RESIZE, NEVER, WITHOUT = 0x80, 0x40, 0x20, 0x10, 0x00
AUTHORITY, GET, PATH, HTTP = 1, 2, 4, 6
STATIC_ENTRIES = 61
NEWEST = STATIC_ENTRIES + 1


def integer(value: int, bits: int, first: int = 0) -> bytes:
    """5.1: a number behind the upper bits of `first`."""
    most = (1 << bits) - 1
    if value < most:
        return bytes([first | value])
    octets, value = [first | most], value - most
    while value >= 0x80:
        octets.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*octets, value])


def string(text: str) -> bytes:
    return integer(len(text), 7) + text.encode()


def huffman(text: str) -> bytes:
    coded = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH).encode(text.encode())
    return integer(len(coded), 7, 0x80) + coded


def indexed(index: int) -> bytes:
    return integer(index, 7, INDEXED)


def literal(
    form: int, name: int | str, value: bytes, encode: Callable[[str], bytes] = string
) -> bytes:
    """A literal field; its name is an index or a text, its value a string literal."""
    bits = 6 if form == INDEXING else 4
    if isinstance(name, int):
        return integer(name, bits, form) + value
    return bytes([form]) + encode(name) + value


def resized(size: int) -> bytes:
    return integer(size, 5, RESIZE)
