"""From HTTP/1.1 to HTTP/2 by Upgrade: RFC 7540, 3.2. 9113 keeps it no more, curl speaks it."""

from __future__ import annotations

import base64

from demands import NotApplicable, Table, answers, closes, require, resets
from plain import END_OF_HEAD, PlainConnection
from plain_cases import looked_at
from wire import PREFACE, Code, Connection, Lost, Setting, ping, setting, settings

TABLE = Table(7540)
case = TABLE.case

CONNECTION = "Connection: Upgrade, HTTP2-Settings"
UPGRADE = ["Upgrade: h2c", CONNECTION]


def http2_settings(*pairs: tuple[int, int]) -> str:
    coded = base64.urlsafe_b64encode(setting(*pairs)).rstrip(b"=")
    return f"HTTP2-Settings: {coded.decode()}"


def upgrade(c: Connection, method: str, *fields: str, body: bytes = b"") -> None:
    """A request that is answered as stream 1."""
    path = c.path if method == "GET" else c.post_path
    lines = [f"{method} {path} HTTP/1.1", f"Host: {c.authority}", *UPGRADE, *fields, "", ""]
    c.send("\r\n".join(lines).encode(), body)
    head = b""
    while not head.endswith(END_OF_HEAD):
        octet = c.socket.recv(1)
        if not octet:
            raise Lost
        head += octet
    if not head.startswith(b"HTTP/1.1 101 "):
        raise NotApplicable("the server does not upgrade")


@case("3.2", "GET with Upgrade: h2c, then the preface", answers(), bare=True)
def upgraded_get(c: Connection):
    upgrade(c, "GET", http2_settings())
    c.send(PREFACE, settings())


@case("3.2", "GET with Upgrade: h2c, and a request on stream 3 after it", answers(3), bare=True)
def request_after_an_upgrade(c: Connection):
    upgrade(c, "GET", http2_settings())
    c.send(PREFACE, settings(), c.headers(3, c.get()))
    c.wait(lambda: c.answer(1).ended)


@case("3.2", "GET with Upgrade: h2c, and stream 1 once more",
      resets(1, Code.PROTOCOL_ERROR, Code.STREAM_CLOSED), bare=True)
def stream_1_after_an_upgrade(c: Connection):
    upgrade(c, "GET", http2_settings((Setting.INITIAL_WINDOW_SIZE, 0)))
    c.send(PREFACE, settings((Setting.INITIAL_WINDOW_SIZE, 0)), c.headers(1, c.get()))


@case("3.2", "POST with a body and Upgrade: h2c", answers(), bare=True)
def upgraded_post(c: Connection):
    upgrade(c, "POST", http2_settings(), "Content-Length: 7", body=b"payload")
    c.send(PREFACE, settings())


@case("3.2", "GET with Upgrade: h2c, then PING where the preface belongs", closes(), bare=True)
def no_preface_after_an_upgrade(c: Connection):
    upgrade(c, "GET", http2_settings())
    c.send(ping())


@case("3.2.1", "HTTP2-Settings with a window of 0", answers(), bare=True)
def settings_of_an_upgrade(c: Connection):
    upgrade(c, "GET", http2_settings((Setting.INITIAL_WINDOW_SIZE, 0)))
    c.send(PREFACE, settings((Setting.INITIAL_WINDOW_SIZE, 0)))
    c.wait(lambda: c.answer().status)
    c.ping()
    require(not c.answer().body, "DATA in a window of 0")
    c.set((Setting.INITIAL_WINDOW_SIZE, 60_000))


def stays(name: str, sent: str, *fields: str) -> None:
    """A case for GET with an Upgrade that must not be followed: it is HTTP/1.1 as before."""

    def run(c: PlainConnection) -> None:
        c.send(c.get(*fields))
        status = c.reply().status
        require(status in ("200", "400"), f"answered {status}")

    run.__name__ = name
    case("3.2.1", sent, looked_at("answer 200 or 400"), connect=PlainConnection)(run)


stays("upgrade_without_settings", "Upgrade: h2c without HTTP2-Settings", "Upgrade: h2c",
      "Connection: Upgrade")
stays("upgrade_with_settings_twice", "Upgrade: h2c with HTTP2-Settings twice", *UPGRADE,
      http2_settings(), http2_settings())
stays("upgrade_with_odd_settings", "Upgrade: h2c with HTTP2-Settings that are no base64", *UPGRADE,
      "HTTP2-Settings: ~")
stays("upgrade_to_h2", "Upgrade: h2, which is for TLS", "Upgrade: h2", CONNECTION, http2_settings())


@case("3.2.1", "Upgrade: h2c with HTTP2-Settings of five bytes",
      looked_at("answer 200 or 400, or an upgrade that ends at once"), connect=PlainConnection)
def upgrade_with_short_settings(c: PlainConnection):
    c.send(c.get(*UPGRADE, "HTTP2-Settings: AAAAAAA"))
    if c.reply().status == "101":
        c.wait_end()
