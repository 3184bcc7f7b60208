"""Bytes of the protocol and a socket for them; what is sent often is made before."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable

import frames
from frames import Event, Frame, encode, options

READ_BYTES = 1 << 18
WAIT_SECONDS = 20.0


def hello(name: str = "", session: bytes = b"") -> bytes:
    return encode(Frame(frames.HELLO, fields={"name": name, "keepalive_s": 10, "session": session}))


def open_sink(link: int, topic: str, demand: int = 0, **more: object) -> bytes:
    chosen = options(demand=(demand, 0), **more)
    fields = {"role": frames.SINK, "topic": topic, "options": chosen}
    return encode(Frame(frames.OPEN, link, fields=fields))


def open_source(link: int, topic: str, available: int = 0, **more: object) -> bytes:
    chosen = options(available=available, **more)
    fields = {"role": frames.SOURCE, "topic": topic, "options": chosen}
    return encode(Frame(frames.OPEN, link, fields=fields))


def close(link: int) -> bytes:
    return encode(Frame(frames.CLOSE, link))


def demand(link: int, n: int, total: int, received: int = 0, flags: int = 0) -> bytes:
    fields = {"n": n, "total": total, "received": received}
    return encode(Frame(frames.DEMAND, link, flags, fields))


def status(link: int, flags: int = 0, **fields: int) -> bytes:
    return encode(Frame(frames.STATUS, link, flags, fields))


def records(link: int, sequence: int, payload: bytes, count: int) -> bytes:
    """EVENTS with one run of so many records, which are made already."""
    run = frames.Run(count, payload)
    return encode(Frame(frames.EVENTS, link, fields={"first_sequence": sequence, "runs": [run]}))


class Lost(Exception):
    """The broker closed the connection, or said nothing for too long."""


class Link:
    """A connection that has greeted; frames come as (type, flags, link, body)."""

    def __init__(
        self, address: tuple[str, int], name: str = "hostile", session: bytes = b"",
        source: tuple[str, int] | None = None,
    ):
        self.socket = socket.create_connection(address, WAIT_SECONDS, source)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.unread = bytearray()
        self.socket.sendall(hello(name, session))
        _, flags, _, body = self.wait(lambda type, *_: type == frames.WELCOME)
        self.resumed = bool(flags & frames.RESUMED)
        self.session = frames.decode(frames.WELCOME, flags, 0, body).session

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def frames(self):
        """What has come whole; PINGs are answered on the way."""
        data, position = self.unread, 0
        while len(data) - position >= frames.HEADER_BYTES:
            length = int.from_bytes(data[position : position + 3], "big")
            end = position + frames.HEADER_BYTES + length
            if end > len(data):
                break
            type, flags, link = struct.unpack_from(">BBI", data, position + 3)
            body = bytes(data[position + frames.HEADER_BYTES : end])
            position = end
            if type == frames.PING and not flags & frames.PONG:
                self.send(frames.pack_frame(frames.PING, 0, frames.PONG, body))
            yield type, flags, link, body
        del data[:position]

    def read(self) -> bool:
        """Takes what is there, waiting for something; False at the end."""
        try:
            data = self.socket.recv(READ_BYTES)
        except TimeoutError as error:
            raise Lost(f"nothing came in {WAIT_SECONDS:g} s") from error
        except ConnectionError as error:
            raise Lost(f"{error}") from error
        self.unread += data
        return bool(data)

    def wait(self, is_it, seconds: float = WAIT_SECONDS):
        """The first frame that is it; what came with it and behind is passed over."""
        until = time.monotonic() + seconds
        while True:
            found = None
            for frame in self.frames():
                if found is None and is_it(*frame):
                    found = frame
            if found:
                return found
            if time.monotonic() > until:
                raise Lost(f"it did not come in {seconds:g} s")
            if not self.read():
                raise Lost("the broker closed the connection")

    def drain(self) -> int:
        """Throws away what has come and does not wait; how many bytes that was."""
        thrown = 0
        self.socket.setblocking(False)
        try:
            while data := self.socket.recv(READ_BYTES):
                thrown += len(data)
        except BlockingIOError:
            pass
        finally:
            self.socket.settimeout(WAIT_SECONDS)
        return thrown

    def close(self) -> None:
        self.socket.close()


def is_frame(kind: int, number: int) -> Callable[..., bool]:
    """Tells the frames of a kind on a link from others."""
    return lambda type, _, link, __: (type, link) == (kind, number)


def publish(link: Link, number: int, topic: str, payload: bytes, count: int) -> None:
    """So many equal events, of which the broker has said what became of them."""
    link.send(open_source(number, topic, count))
    link.wait(is_frame(frames.DEMAND, number))
    link.send(records(number, 1, Event(payload).record() * count, count))
    link.wait(is_frame(frames.SETTLE, number))
