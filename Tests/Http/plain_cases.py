"""HTTP/1.1 on the same port, above all what would let a request be smuggled: RFC 9112, 9110."""

from __future__ import annotations

from demands import Demand, Table, Unmet, require
from plain import PlainConnection, Reply
from wire import Late, Lost

TABLE = Table(9112, PlainConnection)
case = TABLE.case


def answers(*statuses: str) -> Demand:
    """One answer, and a connection that takes another request."""

    def hold(c: PlainConnection) -> None:
        expect(c, *statuses)
        c.send(c.get())
        expect(c, "200")

    return Demand(f"answer {' or '.join(statuses)}, and the connection goes on", hold)


def answers_last(*statuses: str) -> Demand:
    """One answer, and the end of the connection."""

    def hold(c: PlainConnection) -> None:
        expect(c, *statuses)
        rest = c.wait_end()
        require(not rest, f"after the answer: {rest[:60]!r}")

    return Demand(f"answer {' or '.join(statuses)}, then closed", hold)


def refuses(*more: str) -> Demand:
    """What cannot be framed must be the last thing that is read: 400, or closing alone."""

    def hold(c: PlainConnection) -> None:
        # Had the server taken the rest for a request, it would be answered too.
        c.send(c.get())
        try:
            expect(c, "400", *more)
        except Lost:
            return
        rest = c.wait_end()
        require(not rest, f"after the refusal: {rest[:60]!r}")

    return Demand(f"answer {' or '.join(('400', *more))} or none, then closed", hold)


def looked_at(text: str) -> Demand:
    return Demand(text, lambda c: None)


def expect(c: PlainConnection, *statuses: str, is_head: bool = False) -> Reply:
    reply = c.reply(is_head)
    if reply.status not in statuses:
        raise Unmet(f"answered {reply.status}")
    return reply


# 3 The request


@case("3", "GET", answers("200"))
def plain_get(c: PlainConnection):
    c.send(c.get())


@case("3", "GET, byte by byte", answers("200"))
def plain_byte_by_byte(c: PlainConnection):
    for byte in c.get():
        c.send(bytes([byte]))


@case("2.2", "GET after an empty line", answers("200"))
def plain_after_an_empty_line(c: PlainConnection):
    c.send(b"\r\n", c.get())


@case("2.2", "a space before the first field", refuses())
def plain_space_before_fields(c: PlainConnection):
    c.send(c.lines(f"GET {c.path} HTTP/1.1", f" X: a\r\n{c.host()}"))


@case("2.3", "GET of HTTP/1.0", answers_last("200"))
def plain_version_1_0(c: PlainConnection):
    c.send(c.get(version="1.0"))


@case("2.3", "GET of HTTP/2.0", looked_at("an answer of any kind, or closed"))
def plain_version_2_0(c: PlainConnection):
    c.send(c.get(version="2.0"))
    try:
        c.reply()
    except Lost:
        pass


@case("2.3", "GET of a version that is none", refuses("505"))
def plain_version_of_letters(c: PlainConnection):
    c.send(c.get(version="a.b"))


@case("3", "a request line of one word", refuses("405", "501"))
def plain_one_word(c: PlainConnection):
    c.send(c.lines("GET", c.host()))


@case("3.1", "a method with a character that no token has", refuses("405", "501"))
def plain_odd_method(c: PlainConnection):
    c.send(c.lines(f"G(T {c.path} HTTP/1.1", c.host()))


@case("3.1", "a method that nobody knows", looked_at("answer 4xx or 501"))
def plain_unknown_method(c: PlainConnection):
    c.send(c.lines(f"BREW {c.path} HTTP/1.1", c.host()))
    status = c.reply().status
    require(status == "501" or status.startswith("4"), f"answered {status}")


@case("3.2", "GET without Host", refuses())
def plain_no_host(c: PlainConnection):
    c.send(c.lines(f"GET {c.path} HTTP/1.1"))


@case("3.2", "GET with two Hosts", refuses())
def plain_two_hosts(c: PlainConnection):
    c.send(c.get("Host: elsewhere"))


@case("3.2.2", "GET of an absolute URI", answers("200"))
def plain_absolute_target(c: PlainConnection):
    c.send(c.lines(f"GET http://{c.authority}{c.path} HTTP/1.1", c.host()))


@case("3.2.4", "OPTIONS of *", looked_at("an answer of any kind"))
def plain_options_of_all(c: PlainConnection):
    c.send(c.lines("OPTIONS * HTTP/1.1", c.host()))
    c.reply()


@case("3", "a request line of 128 KiB", refuses("404", "414", "431"))
def plain_long_target(c: PlainConnection):
    c.send(c.lines(f"GET /{'a' * 131_072} HTTP/1.1", c.host()))


# 5 Fields


@case("5.1", "a space before the colon of Host", refuses())
def plain_space_before_colon(c: PlainConnection):
    c.send(c.lines(f"GET {c.path} HTTP/1.1", f"Host : {c.authority}"))


@case("5.1", "a space before the colon of Transfer-Encoding", refuses())
def plain_space_before_coding(c: PlainConnection):
    c.send(c.post("Transfer-Encoding : chunked"), b"0\r\n\r\n")


@case("5", "a field line without a colon", refuses())
def plain_no_colon(c: PlainConnection):
    c.send(c.get("X-Test"))


@case("5", "NUL in a value", refuses())
def plain_nul(c: PlainConnection):
    c.send(c.get("X-Test: a\0b"))


@case("2.2", "a carriage return alone in a value", refuses())
def plain_carriage_return(c: PlainConnection):
    c.send(c.get("X-Test: a\rX-Smuggled: b"))


@case("5", "a field of 256 KiB", refuses("431"))
def plain_long_field(c: PlainConnection):
    c.send(c.get(f"X-Long: {'a' * 262_144}"))


@case("5", "ten thousand fields", refuses("431"))
def plain_many_fields(c: PlainConnection):
    c.send(c.get(*(f"X-{n}: a" for n in range(10_000))))


# 6 The body


def chunked(c: PlainConnection, body: bytes) -> None:
    c.send(c.post("Transfer-Encoding: chunked"), body)


@case("6.2", "POST with Content-Length", answers("200"))
def plain_post(c: PlainConnection):
    c.send(c.post("Content-Length: 7"), b"payload")


@case("7.1", "POST in two chunks", answers("200"))
def plain_chunks(c: PlainConnection):
    chunked(c, b"3\r\npay\r\n4\r\nload\r\n0\r\n\r\n")


@case("7.1.1", "chunks with an extension and trailers", answers("200"))
def plain_chunks_with_trailers(c: PlainConnection):
    chunked(c, b"7;name=value\r\npayload\r\n0\r\nX-Trailer: late\r\n\r\n")


@case("7.1", "a chunk whose size is no number", refuses())
def plain_chunk_size_of_letters(c: PlainConnection):
    chunked(c, b"xyz\r\npayload\r\n0\r\n\r\n")


@case("7.1", "a chunk whose size begins with 0x", refuses())
def plain_chunk_size_as_in_c(c: PlainConnection):
    chunked(c, b"0x7\r\npayload\r\n0\r\n\r\n")


@case("7.1", "a chunk whose size has a sign", refuses())
def plain_chunk_size_with_sign(c: PlainConnection):
    chunked(c, b"-7\r\npayload\r\n0\r\n\r\n")


@case("7.1", "a chunk of 2^64 + 7 bytes", refuses("413"))
def plain_chunk_size_too_large(c: PlainConnection):
    chunked(c, b"10000000000000007\r\npayload\r\n0\r\n\r\n")


@case("7.1", "a chunk that is longer than it says", refuses())
def plain_chunk_too_long(c: PlainConnection):
    chunked(c, b"3\r\npayload\r\n0\r\n\r\n")


@case("6.3", "Content-Length and Transfer-Encoding", looked_at("never two answers to one"))
def plain_length_and_coding(c: PlainConnection):
    smuggled = c.get()
    body = b"0\r\n\r\n"
    c.send(c.post(f"Content-Length: {len(body + smuggled)}", "Transfer-Encoding: chunked"), body)
    c.send(smuggled)
    try:
        c.reply()
    except Lost:
        return
    # 6.1: whoever takes the request must close after it.
    rest = c.wait_end()
    require(not rest, f"after the answer: {rest[:60]!r}")


@case("6.1", "a transfer coding that nobody knows", refuses("501"))
def plain_unknown_coding(c: PlainConnection):
    c.send(c.post("Transfer-Encoding: xchunked"), b"0\r\n\r\n")


@case("6.3", "chunked, and another coding after it", refuses("501"))
def plain_chunked_not_last(c: PlainConnection):
    c.send(c.post("Transfer-Encoding: chunked, gzip"), b"0\r\n\r\n")


@case("6.3", "Content-Length 7 and Content-Length 8", refuses())
def plain_two_lengths(c: PlainConnection):
    c.send(c.post("Content-Length: 7", "Content-Length: 8"), b"payload")


@case("6.3", "Content-Length with a sign", refuses())
def plain_length_with_sign(c: PlainConnection):
    c.send(c.post("Content-Length: +7"), b"payload")


@case("6.3", "Content-Length that is no number", refuses())
def plain_length_of_letters(c: PlainConnection):
    c.send(c.post("Content-Length: 7x"), b"payload")


@case("6.3", "Content-Length 2^64 + 7", refuses("413"))
def plain_length_too_large(c: PlainConnection):
    c.send(c.post("Content-Length: 18446744073709551623"), b"payload")


@case("6.3", "POST without a length, and another request behind it",
      looked_at("two answers: no body is what it has"))
def plain_no_length(c: PlainConnection):
    c.send(c.post(), c.get())
    c.reply()
    expect(c, "200")


@case("8", "half a body, then nothing more", looked_at("no 2xx"))
def plain_incomplete_body(c: PlainConnection):
    c.send(c.post("Content-Length: 7"), b"pay")
    c.end()
    try:
        require(not c.reply().status.startswith("2"), "it was taken for a whole one")
    except Lost:
        pass


# 9 The connection


@case("9.3", "three requests in one write", looked_at("three answers 200"))
def plain_pipeline(c: PlainConnection):
    c.send(c.get(), c.post("Content-Length: 1"), b"x", c.get())
    for _ in range(3):
        expect(c, "200")


@case("9.6", "GET with Connection: close", answers_last("200"))
def plain_close(c: PlainConnection):
    c.send(c.get("Connection: close"))


@case("9.6", "GET with Connection: close, and a request behind it", answers_last("200"))
def plain_nothing_after_close(c: PlainConnection):
    c.send(c.get("Connection: close"), c.get())


@case("9.6", "GET, then no more from us", looked_at("answer 200 or none, then closed"))
def plain_half_closed(c: PlainConnection):
    c.send(c.get())
    c.end()
    try:
        answers_last("200").hold(c)
    except Lost:
        pass


@case("6.3", "HEAD, then GET", looked_at("no body after HEAD"))
def plain_head(c: PlainConnection):
    c.send(c.lines(f"HEAD {c.path} HTTP/1.1", c.host()))
    c.reply(is_head=True)
    c.send(c.get())
    expect(c, "200")


@case("9.3", "POST with Expect: 100-continue, the body a moment later", answers("200"))
def plain_expect_continue(c: PlainConnection):
    c.send(c.post("Content-Length: 7", "Expect: 100-continue"))
    c.send(b"payload")


@case("9.8", "a TLS handshake", looked_at("closed"))
def plain_tls(c: PlainConnection):
    c.send(bytes.fromhex("16030100c8010000c40303") + bytes(190))
    try:
        c.wait_end()
    except Late:
        raise Unmet("the connection stayed") from None


@case("2.2", "a kilobyte of what is no text", looked_at("closed"))
def plain_noise(c: PlainConnection):
    c.send(bytes(range(0x80, 0x100)) * 8, b"\r\n\r\n")
    c.wait_end()
