"""Requests, whole and malformed: RFC 9113, 8."""

from __future__ import annotations

from demands import (
    NotApplicable, Table, answers, holds, ignored_or, malformed, refused, require, resets,
)
from wire import (
    END_HEADERS, END_STREAM, FRAME_BYTES, Code, Connection, Pair, Setting, Type, data, raw,
)

TABLE = Table(9113)
case = TABLE.case


def ask(c: Connection, fields: list[Pair]) -> None:
    c.send(c.headers(1, fields))


def without(fields: list[Pair], *names: str) -> list[Pair]:
    return [pair for pair in fields if pair[0] not in names]


def changed(fields: list[Pair], name: str, value: str) -> list[Pair]:
    return [(key, value if key == name else old) for key, old in fields]


def post(c: Connection, *more: Pair) -> None:
    c.send(c.headers(1, c.post(*more), END_HEADERS))


# 8.1 Framing


@case("8.1", "GET", answers())
def get(c: Connection):
    ask(c, c.get())


@case("8.1", "POST with a body", answers())
def post_with_a_body(c: Connection):
    post(c)
    c.send(data(1, b"payload", END_STREAM))


@case("8.1", "HEAD", holds("an answer without DATA that carries something"))
def head(c: Connection):
    ask(c, c.fields("HEAD", c.path))
    c.wait(lambda: c.answer().ended)
    require(c.answer().status, "no status")
    require(not c.answer().body, f"{len(c.answer().body)} bytes of body")


@case("8.1", "a body and trailers", answers())
def trailers(c: Connection):
    post(c)
    c.send(data(1, b"payload"), c.headers(1, [("x-trailer", "late")]))


@case("8.1", "trailers without END_STREAM", malformed())
def trailers_without_an_end(c: Connection):
    post(c)
    c.send(data(1, b"payload"), c.headers(1, [("x-trailer", "late")], END_HEADERS))
    c.send(data(1, b"more", END_STREAM))


@case("8.1", "a pseudo-header in trailers", malformed())
def pseudo_header_in_trailers(c: Connection):
    post(c)
    c.send(data(1, b"payload"), c.headers(1, [(":method", "GET")]))


@case("8.1", "ten requests in one write", holds("answer 200 to each"))
def ten_at_once(c: Connection):
    streams = range(1, 21, 2)
    c.send(*(c.headers(stream, c.get()) for stream in streams))
    for stream in streams:
        answers(stream).hold(c)


@case("8.1", "expect: 100-continue, and the body", answers())
def expect_continue(c: Connection):
    post(c, ("expect", "100-continue"))
    c.ping()
    c.send(data(1, b"payload", END_STREAM))


# 8.1.1 Malformed: the length


@case("8.1.1", "content-length 7 and seven bytes, in two frames", answers())
def content_length(c: Connection):
    post(c, ("content-length", "7"))
    c.send(data(1, b"pay"), data(1, b"load", END_STREAM))


@case("8.1.1", "content-length 8 and seven bytes", malformed())
def content_length_too_large(c: Connection):
    post(c, ("content-length", "8"))
    c.send(data(1, b"payload", END_STREAM))


@case("8.1.1", "content-length 6 and seven bytes", malformed())
def content_length_too_small(c: Connection):
    post(c, ("content-length", "6"))
    c.send(data(1, b"payload", END_STREAM))


@case("8.1.1", "content-length 6 and seven bytes in two frames", malformed())
def content_length_of_the_first_frames(c: Connection):
    post(c, ("content-length", "6"))
    c.send(data(1, b"pay"), data(1, b"load", END_STREAM))


@case("8.1.1", "content-length 7, and END_STREAM in HEADERS", malformed())
def content_length_without_a_body(c: Connection):
    ask(c, c.post(("content-length", "7")))


@case("8.1.1", "content-length 7, six bytes and trailers", malformed())
def content_length_before_trailers(c: Connection):
    post(c, ("content-length", "7"))
    c.send(data(1, b"payloa"), c.headers(1, [("x-trailer", "late")]))


@case("8.1.1", "content-length that is no number", malformed())
def content_length_of_letters(c: Connection):
    post(c, ("content-length", "seven"))
    c.send(data(1, b"payload", END_STREAM))


@case("8.1.1", "content-length 7 and content-length 8", malformed())
def two_content_lengths(c: Connection):
    post(c, ("content-length", "7"), ("content-length", "8"))
    c.send(data(1, b"payload", END_STREAM))


# 8.2 Fields


def odd(name: str, sent: str, *pair: str, section: str = "8.2.1") -> None:
    """A case for GET with one more field, which makes the request malformed."""

    def run(c: Connection) -> None:
        ask(c, c.get(pair))

    run.__name__ = name
    case(section, f"GET with {sent}", malformed())(run)


odd("name_with_capitals", "a field name with capitals", "X-Test", "a", section="8.2")
odd("name_with_a_space", "a space in a field name", "x test", "a")
odd("name_with_a_control", "a control character in a field name", "x\x01", "a")
odd("name_with_delete", "DEL in a field name", "x\x7f", "a")
odd("name_beyond_ascii", "a byte over 0x7f in a field name", "x\xe4", "a")
odd("name_with_a_colon", "a colon inside a field name", "x:y", "a")
odd("name_of_nothing", "a field name of no bytes", "", "a")
odd("value_with_nul", "NUL in a value", "x-test", "a\0b")
odd("value_with_line_feed", "a line feed in a value", "x-test", "a\nx-smuggled: b")
odd("value_with_carriage_return", "a carriage return in a value", "x-test", "a\rb")
odd("value_after_a_space", "a space before a value", "x-test", " a")
odd("value_before_a_tab", "a tab after a value", "x-test", "a\t")
odd("connection_field", "connection", "connection", "close", section="8.2.2")
odd("keep_alive_field", "keep-alive", "keep-alive", "timeout=5", section="8.2.2")
odd("proxy_connection_field", "proxy-connection", "proxy-connection", "close", section="8.2.2")
odd("transfer_encoding_field", "transfer-encoding", "transfer-encoding", "chunked",
    section="8.2.2")
odd("upgrade_field", "upgrade", "upgrade", "h2c", section="8.2.2")
odd("te_of_gzip", "te: gzip", "te", "gzip", section="8.2.2")


@case("8.2.2", "GET with te: trailers", answers())
def te_of_trailers(c: Connection):
    ask(c, c.get(("te", "trailers")))


@case("8.2.1", "GET with a value of no bytes, and one of every visible character", answers())
def every_visible_character(c: Connection):
    ask(c, c.get(("x-empty", ""), ("x-all", bytes(range(0x21, 0x7F)).decode())))


@case("8.2.1", "GET with a name of every character of a token", answers())
def every_character_of_a_token(c: Connection):
    ask(c, c.get(("x-!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz", "a")))


@case("8.2.3", "GET with a cookie in three fields", answers())
def cookie_in_pieces(c: Connection):
    ask(c, c.get(("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3")))


# 8.3 Pseudo-headers


@case("8.3", "an unknown pseudo-header", malformed())
def unknown_pseudo_header(c: Connection):
    ask(c, [(":test", "a"), *c.get()])


@case("8.3", ":status in a request", malformed())
def pseudo_header_of_a_response(c: Connection):
    ask(c, [*c.get(), (":status", "200")])


@case("8.3", "a pseudo-header after a field", malformed())
def pseudo_header_after_a_field(c: Connection):
    fields = c.get()
    ask(c, [*fields[:3], ("x-test", "a"), *fields[3:]])


@case("8.3.1", "no :method", malformed())
def no_method(c: Connection):
    ask(c, without(c.get(), ":method"))


@case("8.3.1", "no :scheme", malformed())
def no_scheme(c: Connection):
    ask(c, without(c.get(), ":scheme"))


@case("8.3.1", "no :path", malformed())
def no_path(c: Connection):
    ask(c, without(c.get(), ":path"))


@case("8.3.1", "no pseudo-header at all", malformed())
def no_pseudo_header(c: Connection):
    ask(c, [("x-test", "a")])


@case("8.3.1", "an empty :path", malformed())
def empty_path(c: Connection):
    ask(c, changed(c.get(), ":path", ""))


@case("8.3.1", "a :path that does not begin with a slash", malformed())
def path_without_a_slash(c: Connection):
    ask(c, changed(c.get(), ":path", c.path.lstrip("/") or "x"))


@case("8.3.1", ":path twice", malformed())
def two_paths(c: Connection):
    ask(c, [*c.get(), (":path", c.path)])


@case("8.3.1", ":method twice", malformed())
def two_methods(c: Connection):
    ask(c, [(":method", "GET"), *c.get()])


@case("8.3.1", ":scheme twice", malformed())
def two_schemes(c: Connection):
    ask(c, [(":scheme", "http"), *c.get()])


@case("8.3.1", ":authority twice", malformed())
def two_authorities(c: Connection):
    ask(c, [(":authority", c.authority), *c.get()])


@case("8.3.1", "host in the place of :authority", answers())
def host_alone(c: Connection):
    ask(c, [*without(c.get(), ":authority"), ("host", c.authority)])


@case("8.3.1", "host and :authority that say the same", answers())
def host_beside_authority(c: Connection):
    ask(c, c.get(("host", c.authority)))


@case("8.3.1", "OPTIONS of the path *",
      holds("an answer of any kind, and the connection goes on"))
def options_of_all(c: Connection):
    ask(c, c.fields("OPTIONS", "*"))
    c.wait(lambda: c.answer().ended or 1 in c.resets or c.goaway)
    require(c.answer().status, "no answer")
    c.ping()


@case("8.1", "a method that nobody knows", holds("answer 4xx or 501"))
def unknown_method(c: Connection):
    ask(c, c.fields("BREW", c.path))
    c.wait(lambda: c.answer().status or 1 in c.resets or c.goaway)
    status = c.answer().status or "nothing"
    require(status == "501" or status.startswith("4"), f"answered {status}")


@case("8.5", "CONNECT with a :scheme and a :path", malformed())
def connect_with_a_path(c: Connection):
    ask(c, c.fields("CONNECT", "/"))


@case("8.5", "CONNECT without :authority", malformed())
def connect_to_nobody(c: Connection):
    ask(c, [(":method", "CONNECT")])


@case("8.5", "CONNECT to elsewhere, from what is no proxy", holds("refused, never 2xx"))
def connect_elsewhere(c: Connection):
    ask(c, [(":method", "CONNECT"), (":authority", "127.0.0.1:9")])
    c.wait(lambda: c.answer().status or 1 in c.resets or c.goaway or c.closed)
    require(not (c.answer().status or "").startswith("2"), f"answered {c.answer().status}")
    c.goaway, c.resets = None, {}


# 10.5 Too much


@case("10.5.1", "a field of twice the server's MAX_HEADER_LIST_SIZE",
      refused(1, Code.ENHANCE_YOUR_CALM, Code.PROTOCOL_ERROR, Code.INTERNAL_ERROR,
              Code.REFUSED_STREAM, Code.CANCEL, Code.COMPRESSION_ERROR))
def header_list_too_large(c: Connection):
    largest = c.settings.get(Setting.MAX_HEADER_LIST_SIZE)
    if largest is None or largest > 1 << 20:
        raise NotApplicable("the server sets no MAX_HEADER_LIST_SIZE of 1 MiB or less")
    block = c.encoder.encode(c.get(("x-long", "~" * 2 * largest)), huffman=False)
    parts = [block[at : at + FRAME_BYTES] for at in range(0, len(block), FRAME_BYTES)]
    for index, part in enumerate(parts):
        kind = Type.CONTINUATION if index else Type.HEADERS
        flags = (0 if index else END_STREAM) | (END_HEADERS if part is parts[-1] else 0)
        c.send(raw(kind, flags, 1, part))


@case("8.1", "a request that is reset in the same write", ignored_or(1, Code.STREAM_CLOSED))
def reset_with_the_request(c: Connection):
    c.send(c.headers(1, c.get()), raw(Type.RST_STREAM, 0, 1, bytes([0, 0, 0, Code.CANCEL])))


@case("8.4", "a request with pushes allowed", holds("no PUSH_PROMISE without being asked"))
def nothing_is_pushed(c: Connection):
    c.set((Setting.ENABLE_PUSH, 1))
    ask(c, c.get())
    c.wait(lambda: c.answer().ended)


@case("8.1", "HEADERS in an open body, with a pseudo-header", malformed())
def second_request_on_a_stream(c: Connection):
    post(c)
    c.send(c.headers(1, c.get()))


@case("8.1", "DATA after trailers", resets(1, Code.STREAM_CLOSED))
def data_after_trailers(c: Connection):
    c.set((Setting.INITIAL_WINDOW_SIZE, 0))
    post(c)
    c.send(c.headers(1, [("x-trailer", "late")]), data(1, b"x", END_STREAM))
