"""The frames with a body, and SETTINGS: RFC 9113, 4.3, 6.1, 6.2, 6.5, 6.6, 6.10."""

from __future__ import annotations

import struct

from demands import (
    NotApplicable, Table, answers, ends, holds, lives, malformed, require,
)
from wire import (
    ACK, END_HEADERS, END_STREAM, FRAME_BYTES, PADDED, PRIORITY, Code, Connection, Setting, Type,
    data, priority, raw, setting, settings,
)

TABLE = Table(9113)
case = TABLE.case

OPEN = END_HEADERS
WHOLE = END_HEADERS | END_STREAM


def open_post(c: Connection, stream: int = 1) -> None:
    c.send(c.headers(stream, c.post(), OPEN))


# 6.1 DATA


@case("6.1", "DATA on stream 0", ends(Code.PROTOCOL_ERROR))
def data_on_the_connection(c: Connection):
    c.send(data(0, b"x"))


@case("6.1", "DATA with padding, and some that is nothing else", answers())
def padded_data(c: Connection):
    open_post(c)
    c.send(data(1, b"\x05abc" + bytes(5), PADDED), data(1, b"\x03" + bytes(3), PADDED))
    c.send(data(1, b"\0d", PADDED | END_STREAM))


@case("6.1", "DATA with padding as long as the payload", ends(Code.PROTOCOL_ERROR))
def padding_as_long_as_data(c: Connection):
    open_post(c)
    c.send(data(1, b"\x04abc", PADDED | END_STREAM))


@case("6.1", "DATA with padding of 255 in a payload of 4", ends(Code.PROTOCOL_ERROR))
def padding_longer_than_data(c: Connection):
    open_post(c)
    c.send(data(1, b"\xffabc", PADDED | END_STREAM))


@case("6.1", "DATA with PADDED and no payload", ends(Code.FRAME_SIZE_ERROR, Code.PROTOCOL_ERROR))
def padding_without_its_length(c: Connection):
    open_post(c)
    c.send(data(1, b"", PADDED | END_STREAM))


@case("6.1", "empty DATA, before the body and as its end", answers())
def empty_data(c: Connection):
    open_post(c)
    c.send(data(1), data(1, b"x"), data(1, b"", END_STREAM))


# 6.2 HEADERS


@case("6.2", "HEADERS on stream 0", ends(Code.PROTOCOL_ERROR))
def headers_on_the_connection(c: Connection):
    c.send(c.headers(0, c.get()))


@case("6.2", "HEADERS with padding", answers())
def padded_headers(c: Connection):
    c.send(raw(Type.HEADERS, WHOLE | PADDED, 1, b"\x08" + c.encoder.encode(c.get()) + bytes(8)))


@case("6.2", "HEADERS with a priority", answers())
def headers_with_priority(c: Connection):
    payload = struct.pack(">IB", 0x8000_0000, 200) + c.encoder.encode(c.get())
    c.send(raw(Type.HEADERS, WHOLE | PRIORITY, 1, payload))


@case("6.2", "HEADERS with padding and a priority", answers())
def padded_headers_with_priority(c: Connection):
    payload = b"\x07" + struct.pack(">IB", 0, 1) + c.encoder.encode(c.get()) + bytes(7)
    c.send(raw(Type.HEADERS, WHOLE | PADDED | PRIORITY, 1, payload))


@case("6.2", "HEADERS with padding longer than the payload", ends(Code.PROTOCOL_ERROR))
def padding_longer_than_headers(c: Connection):
    c.send(raw(Type.HEADERS, WHOLE | PADDED, 1, b"\xff" + c.encoder.encode(c.get())))


@case("6.2", "HEADERS with PADDED and no payload", ends(Code.FRAME_SIZE_ERROR, Code.PROTOCOL_ERROR))
def headers_without_padding_length(c: Connection):
    c.send(raw(Type.HEADERS, WHOLE | PADDED, 1))


@case("6.2", "HEADERS with PRIORITY and four bytes",
      ends(Code.FRAME_SIZE_ERROR, Code.PROTOCOL_ERROR))
def headers_shorter_than_priority(c: Connection):
    c.send(raw(Type.HEADERS, WHOLE | PRIORITY, 1, bytes(4)))


# 4.3, 6.10 Field blocks and CONTINUATION


@case("6.10", "a block in HEADERS and two CONTINUATIONs", answers())
def block_of_three_frames(c: Connection):
    block = c.encoder.encode(c.get())
    c.send(raw(Type.HEADERS, END_STREAM, 1, block[:1]), raw(Type.CONTINUATION, 0, 1, block[1:5]))
    c.send(raw(Type.CONTINUATION, END_HEADERS, 1, block[5:]))


@case("6.10", "a block whose first and last fragments are empty", answers())
def empty_fragments(c: Connection):
    c.send(raw(Type.HEADERS, END_STREAM, 1))
    c.send(raw(Type.CONTINUATION, 0, 1, c.encoder.encode(c.get())))
    c.send(raw(Type.CONTINUATION, END_HEADERS, 1))


@case("6.10", "CONTINUATION on stream 0", ends(Code.PROTOCOL_ERROR))
def continuation_on_the_connection(c: Connection):
    block = c.encoder.encode(c.get())
    c.send(raw(Type.HEADERS, END_STREAM, 1, block[:3]))
    c.send(raw(Type.CONTINUATION, END_HEADERS, 0, block[3:]))


@case("6.10", "CONTINUATION on another stream than its HEADERS", ends(Code.PROTOCOL_ERROR))
def continuation_on_another_stream(c: Connection):
    block = c.encoder.encode(c.get())
    c.send(raw(Type.HEADERS, END_STREAM, 1, block[:3]))
    c.send(raw(Type.CONTINUATION, END_HEADERS, 3, block[3:]))


@case("6.10", "CONTINUATION after HEADERS with END_HEADERS", ends(Code.PROTOCOL_ERROR))
def continuation_after_the_block(c: Connection):
    open_post(c)
    c.send(raw(Type.CONTINUATION, END_HEADERS, 1, c.encoder.encode([("x", "y")])))


@case("6.10", "CONTINUATION after one with END_HEADERS", ends(Code.PROTOCOL_ERROR))
def continuation_after_the_last(c: Connection):
    block = c.encoder.encode(c.post())
    c.send(raw(Type.HEADERS, 0, 1, block[:3]), raw(Type.CONTINUATION, END_HEADERS, 1, block[3:]))
    c.send(raw(Type.CONTINUATION, END_HEADERS, 1, c.encoder.encode([("x", "y")])))


@case("6.10", "CONTINUATION after DATA", ends(Code.PROTOCOL_ERROR))
def continuation_after_data(c: Connection):
    open_post(c)
    c.send(data(1, b"x"), raw(Type.CONTINUATION, END_HEADERS, 1, c.encoder.encode([("x", "y")])))


def interrupted(c: Connection, frame: bytes) -> None:
    c.send(raw(Type.HEADERS, END_STREAM, 1, c.encoder.encode(c.get())[:3]), frame)


@case("6.2", "PRIORITY inside a field block", ends(Code.PROTOCOL_ERROR))
def priority_in_a_block(c: Connection):
    interrupted(c, priority(1))


@case("6.2", "HEADERS of another stream inside a field block", ends(Code.PROTOCOL_ERROR))
def headers_in_a_block(c: Connection):
    interrupted(c, raw(Type.HEADERS, WHOLE, 3, b"\x82\x84\x86"))


@case("6.2", "DATA inside a field block", ends(Code.PROTOCOL_ERROR))
def data_in_a_block(c: Connection):
    interrupted(c, data(1, b"x"))


@case("6.10", "PING inside a field block", ends(Code.PROTOCOL_ERROR))
def ping_in_a_block(c: Connection):
    interrupted(c, raw(Type.PING, 0, 0, bytes(8)))


@case("6.10", "SETTINGS inside a field block", ends(Code.PROTOCOL_ERROR))
def settings_in_a_block(c: Connection):
    interrupted(c, settings())


@case("4.3", "a field block that is no HPACK", ends(Code.COMPRESSION_ERROR))
def block_that_is_none(c: Connection):
    c.send(raw(Type.HEADERS, WHOLE, 1, b"\xff" * 20))


@case("4.3", "a block that ends inside a field", ends(Code.COMPRESSION_ERROR))
def block_cut_off(c: Connection):
    block = c.encoder.encode(c.get(("x-cut", "a value")))
    c.send(raw(Type.HEADERS, WHOLE, 1, block[:-3]))


@case("4.3", "a malformed request that fills the dynamic table, and one that uses it",
      answers(3))
def malformed_blocks_are_decoded(c: Connection):
    c.send(c.headers(1, [*c.get(("x-kept", "the same")), ("Upper", "case")]))
    malformed(1).hold(c)
    if c.goaway or c.closed:
        raise NotApplicable("the server makes it a connection error")
    c.resets.clear()
    c.send(c.headers(3, c.get(("x-kept", "the same"))))


# 6.5 SETTINGS


@case("6.5", "SETTINGS with ACK and a payload", ends(Code.FRAME_SIZE_ERROR))
def ack_with_payload(c: Connection):
    c.send(raw(Type.SETTINGS, ACK, 0, setting((Setting.ENABLE_PUSH, 0))))


@case("6.5", "SETTINGS on a stream", ends(Code.PROTOCOL_ERROR))
def settings_on_a_stream(c: Connection):
    c.send(raw(Type.SETTINGS, 0, 1, setting((Setting.ENABLE_PUSH, 0))))


@case("6.5", "SETTINGS of five bytes", ends(Code.FRAME_SIZE_ERROR))
def settings_not_of_six_bytes(c: Connection):
    c.send(raw(Type.SETTINGS, 0, 0, setting((Setting.ENABLE_PUSH, 0))[:5]))


@case("6.5.2", "ENABLE_PUSH 2", ends(Code.PROTOCOL_ERROR))
def push_of_two(c: Connection):
    c.send(settings((Setting.ENABLE_PUSH, 2)))


@case("6.5.2", "INITIAL_WINDOW_SIZE 2^31", ends(Code.FLOW_CONTROL_ERROR))
def initial_window_too_large(c: Connection):
    c.send(settings((Setting.INITIAL_WINDOW_SIZE, 2**31)))


@case("6.5.2", "MAX_FRAME_SIZE 16,383", ends(Code.PROTOCOL_ERROR))
def frame_size_too_small(c: Connection):
    c.send(settings((Setting.MAX_FRAME_SIZE, FRAME_BYTES - 1)))


@case("6.5.2", "MAX_FRAME_SIZE 2^24", ends(Code.PROTOCOL_ERROR))
def frame_size_too_large(c: Connection):
    c.send(settings((Setting.MAX_FRAME_SIZE, 2**24)))


@case("6.5.2", "every setting at the edge of what is legal", lives())
def settings_at_the_edge(c: Connection):
    c.set(
        (Setting.HEADER_TABLE_SIZE, 2**32 - 1), (Setting.MAX_CONCURRENT_STREAMS, 2**32 - 1),
        (Setting.INITIAL_WINDOW_SIZE, 2**31 - 1), (Setting.MAX_FRAME_SIZE, 2**24 - 1),
        (Setting.MAX_HEADER_LIST_SIZE, 2**32 - 1), (Setting.ENABLE_PUSH, 0),
    )


@case("6.5.3", "three SETTINGS in one write", holds("three ACKs"))
def every_settings_is_acknowledged(c: Connection):
    acks = c.acks
    c.send(settings(), settings((Setting.UNKNOWN, 7)), settings((Setting.ENABLE_PUSH, 0)))
    c.wait(lambda: c.acks == acks + 3)
    c.ping()
    require(c.acks == acks + 3, "more ACKs than SETTINGS")


@case("6.5.3", "one setting twice in a frame", holds("the last value counts"))
def last_value_counts(c: Connection):
    c.set((Setting.INITIAL_WINDOW_SIZE, 100), (Setting.INITIAL_WINDOW_SIZE, 1))
    c.send(c.headers(1, c.get()))
    c.wait(lambda: len(c.answer().body) > 0)
    c.ping()
    require(len(c.answer().body) == 1, f"{len(c.answer().body)} bytes in a window of 1")


# 6.6 PUSH_PROMISE


@case("6.6", "PUSH_PROMISE from a client", ends(Code.PROTOCOL_ERROR))
def push_promise(c: Connection):
    open_post(c)
    promise = struct.pack(">I", 2) + c.encoder.encode(c.get())
    c.send(raw(Type.PUSH_PROMISE, END_HEADERS, 1, promise))


@case("5.4.2", "a malformed request, and a good one on another stream", answers(3))
def stream_error_leaves_the_others(c: Connection):
    c.send(c.headers(1, [*c.get(), ("Upper", "case")]))
    malformed(1).hold(c)
    if c.goaway or c.closed:
        raise NotApplicable("the server makes it a connection error")
    c.resets.clear()
    c.send(c.headers(3, c.get()))
