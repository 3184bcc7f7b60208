"""Flow control, both ways: RFC 9113, 5.2, 6.9."""

from __future__ import annotations

from demands import NotApplicable, Table, answers, ends, holds, lives, require, resets
from wire import (
    END_HEADERS, END_STREAM, PADDED, WINDOW_BYTES, WINDOW_MAX, Code, Connection, Setting, Type,
    data, raw, settings, window,
)

TABLE = Table(9113)
case = TABLE.case


def ask(c: Connection, size: int, stream: int = 1) -> None:
    """A request whose answer may have so many bytes of body for now; all of them came."""
    c.set((Setting.INITIAL_WINDOW_SIZE, size))
    c.send(c.headers(stream, c.get()))
    c.wait(lambda: c.answer(stream).status)
    if c.answer(stream).ended:
        raise NotApplicable("the answer has no body that could wait")
    expect_body(c, size, stream)


def expect_body(c: Connection, count: int, stream: int = 1) -> None:
    c.wait(lambda: len(c.answer(stream).body) >= count)
    # What comes too much would have been on its way before the second PING.
    c.ping()
    c.ping()
    have = len(c.answer(stream).body)
    require(have == count, f"{have} bytes of body where the window lets {count} through")


# What the server sends


@case("6.9.1", "a request with a window of 0", holds("its head, and no DATA"))
def no_data_without_a_window(c: Connection):
    ask(c, 0)


@case("6.9.1", "WINDOW_UPDATE of 1 after a window of 0", holds("DATA of one byte"))
def one_byte_at_a_time(c: Connection):
    ask(c, 0)
    c.send(window(1, 1))
    expect_body(c, 1)


@case("6.9.1", "WINDOW_UPDATE until all is through", answers())
def the_rest_follows(c: Connection):
    ask(c, 1)
    c.send(window(1, 60_000))


@case("6.9.1", "windows of 0 on one stream, WINDOW_UPDATE on another", answers(3))
def each_stream_has_its_window(c: Connection):
    ask(c, 0)
    c.send(c.headers(3, c.get()), window(3, 60_000))
    c.wait(lambda: c.answer(3).ended)
    require(not c.answer(1).body, "DATA on the other stream")


@case("6.9.2", "INITIAL_WINDOW_SIZE from 0 to 1 while an answer waits", holds("DATA of one byte"))
def initial_window_opens_streams(c: Connection):
    ask(c, 0)
    c.set((Setting.INITIAL_WINDOW_SIZE, 1))
    expect_body(c, 1)


@case("6.9.2", "INITIAL_WINDOW_SIZE from 1 to 0 after one byte, then WINDOW_UPDATE 1, then 1",
      holds("nothing for the first, DATA of one byte for the second"))
def window_below_zero(c: Connection):
    ask(c, 1)
    c.set((Setting.INITIAL_WINDOW_SIZE, 0))
    c.send(window(1, 1))
    expect_body(c, 1)
    c.send(window(1, 1))
    expect_body(c, 2)


@case("6.9.1", "WINDOW_UPDATE of the connection while a stream's window is 0", holds("no DATA"))
def connection_window_opens_no_stream(c: Connection):
    ask(c, 0)
    c.send(window(0, 100_000))
    expect_body(c, 0)


@case("6.9.2", "INITIAL_WINDOW_SIZE 2^31 - 1, then the connection's window lifted to the same",
      lives())
def settings_leave_the_connection_alone(c: Connection):
    # Had SETTINGS moved the connection's window too, it would go beyond what is allowed.
    c.set((Setting.INITIAL_WINDOW_SIZE, WINDOW_MAX))
    c.send(window(0, WINDOW_MAX - WINDOW_BYTES))


# What is wrong with an increment


@case("6.9", "WINDOW_UPDATE of 0 on the connection", ends(Code.PROTOCOL_ERROR))
def connection_window_by_nothing(c: Connection):
    c.send(window(0, 0))


@case("6.9", "WINDOW_UPDATE of 0 on a stream", resets(1, Code.PROTOCOL_ERROR))
def stream_window_by_nothing(c: Connection):
    c.send(c.headers(1, c.post(), END_HEADERS), window(1, 0))


@case("6.9", "WINDOW_UPDATE of three bytes", ends(Code.FRAME_SIZE_ERROR))
def window_update_too_short(c: Connection):
    c.send(raw(Type.WINDOW_UPDATE, 0, 0, b"\0\0\1"))


@case("6.9", "WINDOW_UPDATE of five bytes on a stream", ends(Code.FRAME_SIZE_ERROR))
def window_update_too_long(c: Connection):
    c.send(c.headers(1, c.post(), END_HEADERS), raw(Type.WINDOW_UPDATE, 0, 1, b"\0\0\0\1\0"))


@case("6.9", "WINDOW_UPDATE with the reserved bit set", answers())
def reserved_bit_of_an_increment(c: Connection):
    ask(c, 0)
    c.send(window(1, 0x8000_0000 | 60_000))


@case("6.9.1", "WINDOW_UPDATEs that lift the connection's window over 2^31 - 1",
      ends(Code.FLOW_CONTROL_ERROR))
def connection_window_too_large(c: Connection):
    c.send(window(0, WINDOW_MAX), window(0, WINDOW_MAX))


@case("6.9.1", "WINDOW_UPDATEs that lift a stream's window over 2^31 - 1",
      resets(1, Code.FLOW_CONTROL_ERROR))
def stream_window_too_large(c: Connection):
    c.send(c.headers(1, c.post(), END_HEADERS), window(1, WINDOW_MAX), window(1, WINDOW_MAX))


# The section wants the connection's end; libnghttp2 ends the streams that it is true of.
@case("6.9.2", "SETTINGS that lift a stream's window over 2^31 - 1",
      resets(3, Code.FLOW_CONTROL_ERROR))
def settings_lift_a_window_too_far(c: Connection):
    c.set((Setting.INITIAL_WINDOW_SIZE, 0))
    c.send(c.headers(3, c.post(), END_HEADERS), window(3, WINDOW_MAX))
    c.send(settings((Setting.INITIAL_WINDOW_SIZE, 1)))


# What the server takes


@case("6.9.1", "a body of 256 KiB, as the windows allow", answers())
def windows_are_given_back(c: Connection):
    c.send(c.headers(1, c.post(), END_HEADERS))
    c.send_body(1, bytes(256 * 1_024))


@case("6.9.1", "nine bodies of 32 KiB, one after the other", holds("answer 200 to all"))
def connection_window_is_given_back(c: Connection):
    for stream in range(1, 19, 2):
        c.send(c.headers(stream, c.post(), END_HEADERS))
        c.send_body(stream, bytes(32 * 1_024))
        answers(stream).hold(c)


@case("6.9.1", "bodies that are broken off by RST_STREAM, more than the connection's window",
      answers(41))
def broken_off_bodies_give_the_window_back(c: Connection):
    part = bytes(8_000)
    for stream in range(1, 41, 2):
        c.wait(lambda: c.windows[0] >= len(part))
        c.spend(stream, len(part))
        c.send(c.headers(stream, c.post(), END_HEADERS), data(stream, part))
        c.send(raw(Type.RST_STREAM, 0, stream, bytes([0, 0, 0, Code.CANCEL])))
    c.send(c.headers(41, c.get()))


@case("6.9.1", "a body of which nearly all is padding, more than the window", answers())
def padding_is_given_back(c: Connection):
    c.send(c.headers(1, c.post(), END_HEADERS))
    size = 1 + 1 + 255
    for last in [False] * 299 + [True]:
        c.wait(lambda: c.window_of(1) >= size)
        c.spend(1, size)
        c.send(data(1, b"\xffx" + bytes(255), PADDED | (END_STREAM if last else 0)))


@case("5.2.1", "a body for what nobody serves, more than the window", answers(3))
def refused_bodies_give_the_window_back(c: Connection):
    c.send(c.headers(1, c.fields("POST", "/no/such/place"), END_HEADERS))
    for _ in range(20):
        c.wait(lambda: c.windows[0] >= 8_000 or 1 in c.resets or c.answer().ended)
        if 1 in c.resets or c.answer().ended or c.window_of(1) < 8_000:
            break
        c.spend(1, 8_000)
        c.send(data(1, bytes(8_000)))
    c.send(data(1, b"", END_STREAM))
    c.wait(lambda: c.answer().status or 1 in c.resets)
    c.ping()
    c.resets.clear()
    c.send(c.headers(3, c.get()))
