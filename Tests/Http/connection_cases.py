"""How a connection begins, what a frame is, and how it ends: RFC 9113, 3.4, 4, 5.4, 5.5, 6.7, 6.8.
"""

from __future__ import annotations

from demands import NotApplicable, Table, answers, closes, ends, holds, lives, require
from plain import PlainConnection
from wire import (
    ACK, END_STREAM, FRAME_BYTES, PREFACE, WINDOW_MAX, Code, Connection, Setting, Type, data,
    goaway, ping, raw, settings,
)

TABLE = Table(9113)
case = TABLE.case


# 3.4 The preface


@case("3.4", "the preface and SETTINGS", holds("SETTINGS first, then the ACK"), bare=True)
def first_frame_is_settings(c: Connection):
    c.send(PREFACE, settings())
    c.wait(lambda: c.settings is not None and c.acks)


@case("3.4", "preface, SETTINGS and a request before the server said anything", answers(),
      bare=True)
def request_beside_the_preface(c: Connection):
    c.send(PREFACE, settings(), c.headers(1, c.get()))


@case("3.4", "a preface that comes byte by byte, in as many writes", answers(), bare=True)
def preface_byte_by_byte(c: Connection):
    for byte in PREFACE + settings():
        c.send(bytes([byte]))
    c.send(c.headers(1, c.get()))


# What is no preface may be answered in HTTP/1.1.
@case("3.4", "a preface whose last line is another", closes(), connect=PlainConnection)
def wrong_preface(c: PlainConnection):
    c.send(PREFACE.replace(b"SM", b"XX"), settings())


@case("3.4", "PING where SETTINGS must be the first frame", ends(Code.PROTOCOL_ERROR), bare=True)
def ping_before_settings(c: Connection):
    c.send(PREFACE, ping())


@case("3.4", "a request where SETTINGS must be the first frame", ends(Code.PROTOCOL_ERROR),
      bare=True)
def headers_before_settings(c: Connection):
    c.send(PREFACE, c.headers(1, c.get()))


@case("3.4", "the preface a second time", ends(Code.FRAME_SIZE_ERROR, Code.PROTOCOL_ERROR))
def second_preface(c: Connection):
    c.send(PREFACE)


@case("6.5.2", "the preface", holds("SETTINGS with values that the RFC lets a server say"),
      bare=True)
def settings_of_the_server(c: Connection):
    c.send(PREFACE, settings())
    c.wait(lambda: c.settings is not None)
    values = c.settings
    require(values.get(Setting.ENABLE_PUSH, 0) == 0, "ENABLE_PUSH")
    require(values.get(Setting.INITIAL_WINDOW_SIZE, 0) <= WINDOW_MAX, "INITIAL_WINDOW_SIZE")
    largest = values.get(Setting.MAX_FRAME_SIZE, FRAME_BYTES)
    require(FRAME_BYTES <= largest < 2**24, "MAX_FRAME_SIZE")


# 4.1, 5.5 Frames, and what extends them


@case("4.1", "a frame of an unknown type", lives())
def unknown_type(c: Connection):
    c.send(raw(Type.UNKNOWN, 0xFF, 0, b"whatever it says"))


@case("4.1", "an unknown type on an open stream, before its end", answers())
def unknown_type_on_a_stream(c: Connection):
    c.send(c.headers(1, c.post(), 0x4), raw(Type.UNKNOWN, 0, 1, b"?"), data(1, b"x", END_STREAM))


@case("4.1", "an unknown type without a payload, and one of the largest size", lives())
def unknown_type_of_any_size(c: Connection):
    c.send(raw(Type.UNKNOWN, 0, 0), raw(Type.UNKNOWN, 0, 0, bytes(FRAME_BYTES)))


@case("4.1", "PING with every undefined flag", holds("the same PING with ACK"))
def undefined_flags(c: Connection):
    c.send(ping(b"flagged.", 0xFF & ~ACK))
    c.wait(lambda: b"flagged." in c.pongs)


@case("4.1", "PING with the reserved bit of the stream id set", holds("the same PING with ACK"))
def reserved_bit(c: Connection):
    c.send(raw(Type.PING, 0, 0x8000_0000, b"reserved"))
    c.wait(lambda: b"reserved" in c.pongs)


@case("4.1", "a request whose stream id has the reserved bit set", answers())
def reserved_bit_of_a_request(c: Connection):
    c.send(raw(Type.HEADERS, 0x5, 0x8000_0001, c.encoder.encode(c.get())))


@case("5.5", "a frame of an unknown type inside a field block", ends(Code.PROTOCOL_ERROR))
def unknown_type_in_a_block(c: Connection):
    block = c.encoder.encode(c.get())
    c.send(raw(Type.HEADERS, END_STREAM, 1, block[:3]), raw(Type.UNKNOWN, 0, 1, b"?"))


@case("5.5", "SETTINGS with an unknown identifier", lives())
def unknown_setting(c: Connection):
    c.set((Setting.UNKNOWN, 0xFFFF_FFFF))


# 4.2 The size of frames


@case("4.2", "DATA of 16,384 bytes", answers())
def largest_data(c: Connection):
    c.send(c.headers(1, c.post(), 0x4))
    c.send_body(1, bytes(FRAME_BYTES))


def too_long(c: Connection) -> int:
    return c.settings.get(Setting.MAX_FRAME_SIZE, FRAME_BYTES) + 1


@case("4.2", "DATA of more than the server's MAX_FRAME_SIZE",
      ends(Code.FRAME_SIZE_ERROR, Code.FLOW_CONTROL_ERROR))
def data_too_long(c: Connection):
    c.send(c.headers(1, c.post(), 0x4), data(1, bytes(too_long(c))))


@case("4.2", "HEADERS of more than the server's MAX_FRAME_SIZE", ends(Code.FRAME_SIZE_ERROR))
def headers_too_long(c: Connection):
    block = c.encoder.encode(c.get(("x-long", "a" * 2 * too_long(c))), huffman=False)
    c.send(raw(Type.HEADERS, 0x5, 1, block))


@case("4.2", "an unknown type of more than MAX_FRAME_SIZE", ends(Code.FRAME_SIZE_ERROR))
def unknown_type_too_long(c: Connection):
    c.send(raw(Type.UNKNOWN, 0, 0, bytes(too_long(c))))


@case("4.2", "only the header of a SETTINGS frame of 2^24 - 1 bytes", ends(Code.FRAME_SIZE_ERROR))
def announced_too_long(c: Connection):
    c.send(raw(Type.SETTINGS, 0, 0, length=2**24 - 1))


# 5.4, 6.8 The end


@case("5.4.1", "a request, and after its answer PING on a stream",
      ends(Code.PROTOCOL_ERROR))
def goaway_names_the_last_stream(c: Connection):
    c.send(c.headers(1, c.get()))
    c.wait(lambda: c.answer().ended)
    c.send(raw(Type.PING, 0, 1, bytes(8)))
    c.wait(lambda: c.goaway or c.closed)
    require(c.goaway is None or c.goaway.last_stream_id == 1, "the last stream is not 1")


@case("5.4.1", "a broken frame, and a request after it", holds("no answer to the request"))
def nothing_after_an_error(c: Connection):
    c.send(raw(Type.PING, 0, 1, bytes(8)), c.headers(1, c.get()))
    c.wait_end()
    require(not c.answer().statuses, "it was answered")
    c.goaway = None


@case("6.8", "GOAWAY on a stream", ends(Code.PROTOCOL_ERROR))
def goaway_on_a_stream(c: Connection):
    c.send(goaway(stream=1))


@case("6.8", "GOAWAY of seven bytes", ends(Code.FRAME_SIZE_ERROR))
def goaway_too_short(c: Connection):
    c.send(raw(Type.GOAWAY, 0, 0, bytes(7)))


@case("6.8", "a request and GOAWAY with a text, in one write", holds("answer 200 all the same"))
def goaway_lets_finish(c: Connection):
    c.send(c.headers(1, c.get()), goaway(text=b"that was all"))
    c.wait(lambda: c.answer().ended)
    require(c.answer().status == "200", f"answered {c.answer().status}")
    # It may close when nothing is left; NO_ERROR is then its last word.
    require(c.goaway is None or c.goaway.error_code == Code.NO_ERROR, "GOAWAY with an error")
    c.goaway = None


@case("7", "GOAWAY with an unknown error code", holds("no error in return"))
def goaway_of_unknown_code(c: Connection):
    c.send(goaway(code=0xFFFF_FFFF), ping(b"after it"))
    c.wait(lambda: c.closed or b"after it" in c.pongs)
    require(c.goaway is None or c.goaway.error_code == Code.NO_ERROR, "GOAWAY with an error")
    c.goaway = None


# 6.7 PING


@case("6.7", "three PINGs in one write", holds("the same three with ACK, in order"))
def pings_come_back(c: Connection):
    wanted = [b"ping no1", b"ping no2", bytes(range(0xF8, 0x100))]
    c.send(*(ping(opaque) for opaque in wanted))
    c.wait(lambda: len(c.pongs) >= 3)
    require(c.pongs == wanted, f"{c.pongs}")


@case("6.7", "PING with ACK that nobody asked for", lives())
def unasked_pong(c: Connection):
    c.send(ping(b"unasked!", ACK))
    c.ping()
    require(b"unasked!" not in c.pongs, "it was answered")


@case("6.7", "PING on a stream", ends(Code.PROTOCOL_ERROR))
def ping_on_a_stream(c: Connection):
    c.send(raw(Type.PING, 0, 1, bytes(8)))


@case("6.7", "PING of seven bytes", ends(Code.FRAME_SIZE_ERROR))
def ping_too_short(c: Connection):
    c.send(ping(bytes(7)))


@case("6.7", "PING of nine bytes", ends(Code.FRAME_SIZE_ERROR))
def ping_too_long(c: Connection):
    c.send(ping(bytes(9)))


@case("6.7", "PING while an answer waits for a closed window", holds("PING with ACK"))
def ping_beside_a_stuck_answer(c: Connection):
    c.set((Setting.INITIAL_WINDOW_SIZE, 0))
    c.send(c.headers(1, c.get()))
    c.wait(lambda: c.answer().status)
    if c.answer().ended:
        raise NotApplicable("the answer has no body")
    c.ping()
