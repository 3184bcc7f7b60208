"""Field blocks byte by byte: RFC 7541."""

from __future__ import annotations

from blocks import (
    AUTHORITY, GET, HTTP, INDEXING, NEVER, NEWEST, PATH, WITHOUT, huffman, indexed, integer,
    literal, resized, string,
)
from demands import Table, answers, ends, holds, require
from wire import (
    END_HEADERS, END_STREAM, TABLE_BYTES, Code, Connection, Setting, Type, raw,
)

TABLE = Table(7541)
case = TABLE.case


def request(c: Connection, form: int = WITHOUT, encode=string) -> bytes:
    """The block of GET, which leaves the dynamic table alone."""
    return (
        indexed(GET) + indexed(HTTP) + literal(form, AUTHORITY, encode(c.authority))
        + literal(form, PATH, encode(c.path))
    )


def send(c: Connection, block: bytes, stream: int = 1) -> None:
    c.send(raw(Type.HEADERS, END_HEADERS | END_STREAM, stream, block))


def succeed(c: Connection, block: bytes, stream: int = 1) -> None:
    send(c, block, stream)
    answers(stream).hold(c)


# 2.3 Indices


@case("2.3.3", "an index beyond both tables", ends(Code.COMPRESSION_ERROR))
def index_beyond_the_tables(c: Connection):
    send(c, request(c) + indexed(NEWEST))


@case("2.3.3", "a literal whose name has an index beyond both tables",
      ends(Code.COMPRESSION_ERROR))
def name_beyond_the_tables(c: Connection):
    send(c, request(c) + literal(INDEXING, NEWEST, string("a")))


@case("2.3.2", "a path put into the dynamic table, then used by its index", answers(3))
def dynamic_entry(c: Connection):
    start = indexed(GET) + indexed(HTTP) + literal(WITHOUT, AUTHORITY, string(c.authority))
    succeed(c, start + literal(INDEXING, PATH, string(c.path)))
    send(c, start + indexed(NEWEST), 3)


@case("2.3.2", "two paths put into the table, then the older by its index", answers(5))
def older_dynamic_entry(c: Connection):
    start = indexed(GET) + indexed(HTTP) + literal(WITHOUT, AUTHORITY, string(c.authority))
    succeed(c, start + literal(INDEXING, PATH, string(c.path)))
    send(c, start + literal(INDEXING, PATH, string("/no/such/place")), 3)
    c.wait(lambda: c.answer(3).status)
    send(c, start + indexed(NEWEST + 1), 5)


@case("2.3.2", "a literal whose name is the dynamic table's", answers(3))
def name_of_a_dynamic_entry(c: Connection):
    succeed(c, request(c) + literal(INDEXING, "x-test", string("a")))
    send(c, request(c) + literal(WITHOUT, NEWEST, string("b")), 3)


# 4 The size of the dynamic table


@case("4.2", "a size update to 0 and one back to the limit, before the fields", answers())
def two_size_updates(c: Connection):
    send(c, resized(0) + resized(TABLE_BYTES) + request(c))


@case("4.2", "a size update after a field", ends(Code.COMPRESSION_ERROR))
def size_update_after_a_field(c: Connection):
    send(c, request(c) + resized(0))


@case("6.3", "a size update over the server's HEADER_TABLE_SIZE", ends(Code.COMPRESSION_ERROR))
def size_update_over_the_limit(c: Connection):
    limit = c.settings.get(Setting.HEADER_TABLE_SIZE, TABLE_BYTES)
    send(c, resized(limit + 1) + request(c))


@case("4.3", "an entry, a size update to 0, and the entry's index", ends(Code.COMPRESSION_ERROR))
def evicted_by_a_size_update(c: Connection):
    succeed(c, request(c) + literal(INDEXING, "x-test", string("a")))
    send(c, resized(0) + request(c) + indexed(NEWEST), 3)


@case("4.4", "an entry larger than the table", answers())
def entry_larger_than_the_table(c: Connection):
    send(c, request(c) + literal(INDEXING, "x-long", string("a" * TABLE_BYTES)))


@case("4.4", "an entry larger than the table, and an index that was there before",
      ends(Code.COMPRESSION_ERROR))
def evicted_by_a_large_entry(c: Connection):
    succeed(c, request(c) + literal(INDEXING, "x-test", string("a")))
    large = literal(INDEXING, "x-long", string("a" * TABLE_BYTES))
    send(c, request(c) + large + indexed(NEWEST), 3)


@case("4.4", "entries until the oldest must go, and the oldest's index",
      ends(Code.COMPRESSION_ERROR))
def evicted_by_age(c: Connection):
    # Each entry takes 32 bytes beside name and value; four of this size are too many.
    for stream in (1, 3, 5, 7):
        succeed(c, request(c) + literal(INDEXING, "x-test", string("a" * 1_000)), stream)
    send(c, request(c) + indexed(NEWEST + 3), 9)


@case("4.4", "an entry whose name is that of the entry it drives out", answers(7))
def name_of_the_evicted(c: Connection):
    succeed(c, request(c) + literal(INDEXING, "x-test", string("a" * 2_500)))
    succeed(c, request(c) + literal(INDEXING, NEWEST, string("b" * 2_500)), 3)
    succeed(c, request(c) + indexed(NEWEST), 5)
    send(c, request(c), 7)


# 5.1 Integers


@case("5.1", "an index that does not fit any integer", ends(Code.COMPRESSION_ERROR))
def integer_too_large(c: Connection):
    send(c, request(c) + b"\xff" + b"\xff" * 10 + b"\x0f")


@case("5.1", "an index whose last octet is missing", ends(Code.COMPRESSION_ERROR))
def integer_cut_off(c: Connection):
    send(c, request(c) + b"\xff\x80")


@case("5.1", "a string whose length takes three octets", answers())
def length_of_three_octets(c: Connection):
    send(c, request(c) + literal(WITHOUT, "x-test", string("a" * 300)))


# 5.2 Strings


@case("5.2", "a string that is longer than the block", ends(Code.COMPRESSION_ERROR))
def string_cut_off(c: Connection):
    send(c, request(c) + bytes([WITHOUT]) + string("x-test") + integer(100, 7) + b"a")


@case("5.2", "a block that ends before a field's value", ends(Code.COMPRESSION_ERROR))
def no_value(c: Connection):
    send(c, request(c) + bytes([WITHOUT]) + string("x-test"))


@case("5.2", "names and values in Huffman's code", answers())
def huffman_strings(c: Connection):
    every = "".join(chr(code) for code in range(0x20, 0x7F)).strip()
    more = literal(WITHOUT, "x-test", huffman(every), huffman)
    send(c, request(c, encode=huffman) + more)


@case("5.2", "padding of Huffman's code with zeros", ends(Code.COMPRESSION_ERROR))
def huffman_padded_with_zeros(c: Connection):
    # "a" is 00011, and three bits of padding.
    send(c, request(c) + bytes([WITHOUT]) + string("x-test") + b"\x81\x18")


@case("5.2", "padding of Huffman's code of more than seven bits", ends(Code.COMPRESSION_ERROR))
def huffman_padded_too_long(c: Connection):
    send(c, request(c) + bytes([WITHOUT]) + string("x-test") + b"\x82\x1f\xff")


@case("5.2", "EOS inside Huffman's code", ends(Code.COMPRESSION_ERROR))
def huffman_with_its_end(c: Connection):
    # EOS is thirty ones; two more of padding make it four octets.
    send(c, request(c) + bytes([WITHOUT]) + string("x-test") + b"\x84\xff\xff\xff\xff")


# 6 Representations


@case("6.1", "index 0", ends(Code.COMPRESSION_ERROR))
def index_of_nothing(c: Connection):
    send(c, request(c) + indexed(0))


@case("6.2.1", "literals with incremental indexing", answers())
def literal_with_indexing(c: Connection):
    send(c, request(c, INDEXING) + literal(INDEXING, "x-test", string("a")))


@case("6.2.2", "literals without indexing, and an index to one of them later",
      ends(Code.COMPRESSION_ERROR))
def literal_without_indexing(c: Connection):
    succeed(c, request(c, WITHOUT) + literal(WITHOUT, "x-test", string("a")))
    send(c, request(c) + indexed(NEWEST), 3)


@case("6.2.3", "literals that are never indexed, and an index to one of them later",
      ends(Code.COMPRESSION_ERROR))
def literal_never_indexed(c: Connection):
    succeed(c, request(c, NEVER) + literal(NEVER, "x-test", string("a")))
    send(c, request(c) + indexed(NEWEST), 3)


# What the server writes


@case("4.2", "HEADER_TABLE_SIZE 0 from us", holds("blocks that need no dynamic table"))
def no_table_for_the_server(c: Connection):
    c.set((Setting.HEADER_TABLE_SIZE, 0))
    c.decoder.max_allowed_table_size = 0
    for stream in (1, 3, 5):
        send(c, request(c), stream)
        answers(stream).hold(c)
    require(c.decoder.header_table.maxsize == 0, "the table was not said to be empty")


@case("4.2", "HEADER_TABLE_SIZE 0 and 4,096 in one frame, after an answer",
      holds("blocks that use nothing from before"))
def table_taken_and_given(c: Connection):
    succeed(c, request(c))
    c.set((Setting.HEADER_TABLE_SIZE, 0), (Setting.HEADER_TABLE_SIZE, TABLE_BYTES))
    # A server that keeps its entries beside this refers to what is not here any more.
    c.decoder.header_table.maxsize = 0
    c.decoder.header_table.maxsize = TABLE_BYTES
    for stream in (3, 5):
        succeed(c, request(c), stream)
