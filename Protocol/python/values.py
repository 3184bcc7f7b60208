"""Values inside frames: filters, and the partition of a key; written from ../protocol.md §12."""

from __future__ import annotations

import struct

EXISTS, EQUALS, HAS_PREFIX, IS_ONE_OF, NOT, ALL, ANY = range(1, 8)
MAX_FILTER_BYTES = 4_096
MASK = 0xFFFFFFFF

# Filters: each function gives the bytes of a node, which is a whole filter or a part of one.


def _node(operation: int, body: bytes) -> bytes:
    return struct.pack(">BH", operation, len(body)) + body


def _field(header: str | None) -> bytes:
    """The key, or the header of that name."""
    name = b"" if header is None else header.encode()
    return struct.pack(">B", len(name)) + name


def exists(header: str | None = None) -> bytes:
    return _node(EXISTS, _field(header))


def equals(value: bytes, header: str | None = None) -> bytes:
    return _node(EQUALS, _field(header) + value)


def has_prefix(value: bytes, header: str | None = None) -> bytes:
    return _node(HAS_PREFIX, _field(header) + value)


def is_one_of(values: list[bytes], header: str | None = None) -> bytes:
    packed = b"".join(struct.pack(">H", len(value)) + value for value in values)
    return _node(IS_ONE_OF, _field(header) + packed)


def negated(node: bytes) -> bytes:
    return _node(NOT, node)


def all_of(*nodes: bytes) -> bytes:
    return _node(ALL, b"".join(nodes))


def any_of(*nodes: bytes) -> bytes:
    return _node(ANY, b"".join(nodes))


# Partitions


def _rotate(word: int, bits: int) -> int:
    return ((word << bits) | (word >> (32 - bits))) & MASK


def key_hash(key: bytes) -> int:
    """MurmurHash3 x86 32, seed 0."""
    value = 0
    whole = len(key) // 4 * 4
    for (word,) in struct.iter_unpack("<I", key[:whole]):
        value ^= _rotate(word * 0xCC9E2D51 & MASK, 15) * 0x1B873593 & MASK
        value = (_rotate(value, 13) * 5 + 0xE6546B64) & MASK
    rest = int.from_bytes(key[whole:], "little")
    value ^= _rotate(rest * 0xCC9E2D51 & MASK, 15) * 0x1B873593 & MASK
    value ^= len(key)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        value = (value ^ value >> shift) * factor & MASK
    return value ^ value >> 16


def partition(key: bytes | None, offset: int, partitions: int) -> int:
    """Where an event belongs; one without a key goes by its offset."""
    if key is None:
        return offset % partitions
    return key_hash(key) * partitions >> 32
