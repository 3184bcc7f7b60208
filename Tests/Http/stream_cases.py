"""The life of a stream: RFC 9113, 5.1, 6.3, 6.4."""

from __future__ import annotations

from demands import (
    NotApplicable, Table, answers, ends, holds, ignored_or, lives, refused, require, resets,
)
from wire import (
    END_HEADERS, END_STREAM, Code, Connection, Setting, Type, data, priority, raw, reset,
    window,
)

TABLE = Table(9113)
case = TABLE.case


def stuck(c: Connection) -> None:
    """Stream 1, ended by us, whose answer waits for our window: half-closed (remote)."""
    c.set((Setting.INITIAL_WINDOW_SIZE, 0))
    c.send(c.headers(1, c.get()))
    c.wait(lambda: c.answer().status)
    if c.answer().ended:
        raise NotApplicable("the answer has no body")


def finished(c: Connection) -> None:
    """Stream 1, ended by both: closed."""
    c.send(c.headers(1, c.get()))
    c.wait(lambda: c.answer().ended)


def cancelled(c: Connection) -> None:
    """Stream 1, opened and reset by us: closed."""
    c.send(c.headers(1, c.post(), END_HEADERS), reset(1))


# 5.1 idle


@case("5.1 idle", "DATA", ends(Code.PROTOCOL_ERROR, Code.STREAM_CLOSED))
def idle_data(c: Connection):
    c.send(data(1, b"x", END_STREAM))


@case("5.1 idle", "RST_STREAM", ends(Code.PROTOCOL_ERROR))
def idle_reset(c: Connection):
    c.send(reset(1))


@case("5.1 idle", "WINDOW_UPDATE", ends(Code.PROTOCOL_ERROR))
def idle_window(c: Connection):
    c.send(window(1, 100))


@case("5.1 idle", "CONTINUATION", ends(Code.PROTOCOL_ERROR))
def idle_continuation(c: Connection):
    c.send(raw(Type.CONTINUATION, END_HEADERS, 1, c.encoder.encode(c.get())))


@case("5.1 idle", "PRIORITY, and a request after it", answers())
def idle_priority(c: Connection):
    c.send(priority(1), c.headers(1, c.get()))


# 5.1 half-closed (remote)


@case("5.1 half-closed", "DATA after END_STREAM", resets(1, Code.STREAM_CLOSED))
def half_closed_data(c: Connection):
    stuck(c)
    c.send(data(1, b"x", END_STREAM))


@case("5.1 half-closed", "HEADERS after END_STREAM",
      resets(1, Code.STREAM_CLOSED, Code.PROTOCOL_ERROR))
def half_closed_headers(c: Connection):
    stuck(c)
    c.send(c.headers(1, c.get()))


@case("5.1 half-closed", "CONTINUATION after END_STREAM",
      ends(Code.PROTOCOL_ERROR, Code.STREAM_CLOSED))
def half_closed_continuation(c: Connection):
    stuck(c)
    c.send(raw(Type.CONTINUATION, END_HEADERS, 1, c.encoder.encode(c.get())))


@case("5.1 half-closed", "WINDOW_UPDATE after END_STREAM", answers())
def half_closed_window(c: Connection):
    stuck(c)
    c.send(window(1, 65_535))


@case("5.1 half-closed", "PRIORITY after END_STREAM", lives())
def half_closed_priority(c: Connection):
    stuck(c)
    c.send(priority(1))


@case("5.1 half-closed", "RST_STREAM after END_STREAM, then the window",
      holds("the rest of the answer does not come"))
def half_closed_reset(c: Connection):
    stuck(c)
    c.send(reset(1), window(1, 65_535))
    c.ping()
    c.ping()
    require(not c.answer().body, "DATA after RST_STREAM")


# 5.1 closed


@case("5.1 closed", "DATA after our RST_STREAM",
      ignored_or(1, Code.STREAM_CLOSED, Code.PROTOCOL_ERROR))
def reset_then_data(c: Connection):
    cancelled(c)
    c.send(data(1, b"x", END_STREAM))


@case("5.1 closed", "HEADERS after our RST_STREAM",
      ignored_or(1, Code.STREAM_CLOSED, Code.PROTOCOL_ERROR))
def reset_then_headers(c: Connection):
    cancelled(c)
    c.send(c.headers(1, c.get()))


@case("5.1 closed", "CONTINUATION after our RST_STREAM",
      ends(Code.PROTOCOL_ERROR, Code.STREAM_CLOSED))
def reset_then_continuation(c: Connection):
    cancelled(c)
    c.send(raw(Type.CONTINUATION, END_HEADERS, 1, c.encoder.encode(c.get())))


@case("5.1 closed", "DATA when both have ended the stream",
      ignored_or(1, Code.STREAM_CLOSED, Code.PROTOCOL_ERROR))
def finished_then_data(c: Connection):
    finished(c)
    c.send(data(1, b"x", END_STREAM))


@case("5.1 closed", "HEADERS when both have ended the stream",
      ignored_or(1, Code.STREAM_CLOSED, Code.PROTOCOL_ERROR))
def finished_then_headers(c: Connection):
    finished(c)
    c.send(c.headers(1, c.get()))


@case("5.1 closed", "CONTINUATION when both have ended the stream",
      ends(Code.PROTOCOL_ERROR, Code.STREAM_CLOSED))
def finished_then_continuation(c: Connection):
    finished(c)
    c.send(raw(Type.CONTINUATION, END_HEADERS, 1, c.encoder.encode(c.get())))


@case("5.1 closed", "WINDOW_UPDATE when both have ended the stream", lives())
def finished_then_window(c: Connection):
    finished(c)
    c.send(window(1, 100))


@case("5.1 closed", "RST_STREAM when both have ended the stream", lives())
def finished_then_reset(c: Connection):
    finished(c)
    c.send(reset(1))


@case("5.1 closed", "PRIORITY when both have ended the stream", lives())
def finished_then_priority(c: Connection):
    finished(c)
    c.send(priority(1))


# 5.1.1 Identifiers


@case("5.1.1", "a request on stream 2", ends(Code.PROTOCOL_ERROR))
def even_stream(c: Connection):
    c.send(c.headers(2, c.get()))


# The section wants an error. Who remembers no closed streams, as libnghttp2, cannot tell this one
# from a stream that it has just reset, on which 5.1 has it ignore what comes.
@case("5.1.1", "a request on stream 5, then one on stream 3",
      ignored_or(3, Code.PROTOCOL_ERROR, Code.STREAM_CLOSED))
def falling_stream(c: Connection):
    c.send(c.headers(5, c.get()))
    c.wait(lambda: c.answer(5).ended)
    c.send(c.headers(3, c.get()))


@case("5.1.1", "requests on streams 1 and 7", answers(7))
def streams_left_out(c: Connection):
    c.send(c.headers(1, c.get()), c.headers(7, c.get()))
    c.wait(lambda: c.answer(1).ended)


@case("5.1.1", "a request on stream 2^31 - 1, the last there is", answers(2**31 - 1))
def last_stream(c: Connection):
    c.send(c.headers(2**31 - 1, c.get()))


@case("5.1.1", "WINDOW_UPDATE on stream 3 that stream 5 skipped",
      ignored_or(3, Code.PROTOCOL_ERROR, Code.STREAM_CLOSED))
def skipped_stream(c: Connection):
    c.send(c.headers(5, c.get()))
    c.wait(lambda: c.answer(5).ended)
    c.send(window(3, 1))


# 5.1.2 How many at once


def limit(c: Connection) -> int:
    most = c.settings.get(Setting.MAX_CONCURRENT_STREAMS)
    if most is None:
        raise NotApplicable("the server sets no MAX_CONCURRENT_STREAMS")
    return most


@case("5.1.2", "one stream more than MAX_CONCURRENT_STREAMS",
      holds("RST_STREAM REFUSED_STREAM or PROTOCOL_ERROR, or GOAWAY with one"))
def too_many_streams(c: Connection):
    most = limit(c)
    over = 2 * most + 1
    c.send(*(c.headers(2 * n + 1, c.post(), END_HEADERS) for n in range(most + 1)))
    codes = (Code.REFUSED_STREAM, Code.PROTOCOL_ERROR)
    resets(over, *codes).hold(c)
    others = [stream for stream in c.resets if stream != over]
    require(c.goaway or c.closed or not others, f"RST_STREAM of {others} too")
    c.goaway, c.resets = None, {}


@case("5.1.2", "as many streams as MAX_CONCURRENT_STREAMS, ended after the last was opened",
      holds("answer 200 to all"))
def as_many_streams_as_allowed(c: Connection):
    streams = range(1, 2 * limit(c), 2)
    c.send(*(c.headers(stream, c.post(), END_HEADERS) for stream in streams))
    c.send(*(data(stream, b"x", END_STREAM) for stream in streams))
    c.wait(lambda: all(c.answer(stream).ended for stream in streams) or c.resets or c.goaway)
    wrong = {c.answer(stream).status for stream in streams} - {"200"}
    require(not wrong, f"answered {wrong}")


@case("5.1.2", "one request after the other, more than MAX_CONCURRENT_STREAMS",
      holds("answer 200 to all"))
def ended_streams_do_not_count(c: Connection):
    for stream in range(1, 2 * min(limit(c), 300) + 20, 2):
        c.send(c.headers(stream, c.get()))
        answers(stream).hold(c)


@case("5.1.2", "streams up to the limit, one of them reset, and a request", holds("answer 200"))
def reset_streams_do_not_count(c: Connection):
    most = limit(c)
    c.send(*(c.headers(2 * n + 1, c.post(), END_HEADERS) for n in range(most)))
    c.send(reset(1), c.headers(2 * most + 1, c.get()))
    answers(2 * most + 1).hold(c)


# 6.3 PRIORITY


@case("6.3", "PRIORITY on stream 0", ends(Code.PROTOCOL_ERROR))
def priority_on_the_connection(c: Connection):
    c.send(priority(0))


@case("6.3", "PRIORITY of four bytes", resets(1, Code.FRAME_SIZE_ERROR))
def priority_too_short(c: Connection):
    c.send(c.headers(1, c.post(), END_HEADERS), raw(Type.PRIORITY, 0, 1, bytes(4)))


# 6.4 RST_STREAM


@case("6.4", "RST_STREAM on stream 0", ends(Code.PROTOCOL_ERROR))
def reset_on_the_connection(c: Connection):
    c.send(reset(0))


@case("6.4", "RST_STREAM of three bytes", ends(Code.FRAME_SIZE_ERROR))
def reset_too_short(c: Connection):
    c.send(c.headers(1, c.post(), END_HEADERS), raw(Type.RST_STREAM, 0, 1, bytes(3)))


@case("6.4", "RST_STREAM with an unknown code on an open stream",
      holds("no answer on it, and none of our own in return"))
def reset_of_unknown_code(c: Connection):
    c.send(c.headers(1, c.post(), END_HEADERS), reset(1, 0xFFFF))
    c.ping()
    require(not c.answer().statuses, "it was answered")


@case("6.4", "RST_STREAM of one stream of two", answers(3))
def reset_leaves_the_others(c: Connection):
    c.send(c.headers(1, c.post(), END_HEADERS), c.headers(3, c.post(), END_HEADERS))
    c.send(reset(1), data(3, b"x", END_STREAM))


# 8.1 A stream that the server ends


@case("8.1", "a body for what nobody serves, and a good request after it", answers(3))
def answer_before_the_body(c: Connection):
    c.send(c.headers(1, c.fields("POST", "/no/such/place"), END_HEADERS))
    c.send(data(1, b"x", END_STREAM))
    refused(1, Code.REFUSED_STREAM, Code.CANCEL).hold(c)
    c.resets.clear()
    c.send(c.headers(3, c.get()))
