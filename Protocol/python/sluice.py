"""A Sluice client in the standard library alone, written from ../protocol.md.

One thread, blocking sockets. Whoever waits (`receive`, `wait_credit`, `wait_settled` …) reads
frames and keeps the connection alive meanwhile. See README.md for the command line.
"""

from __future__ import annotations

import random
import socket
import sys
import time
from typing import Callable

import frames
from frames import Event, Frame, Malformed
from ledger import Refused
from links import (
    Consumer, Disconnected, Link, Producer, SluiceError, TimedOut, close_frame,
)

__all__ = [
    "Client", "Consumer", "Disconnected", "Event", "Link", "Producer", "SluiceError", "TimedOut",
]


class Client:
    """One session with a broker, over one connection after another."""

    def __init__(self, host: str, port: int, name: str = "python", keepalive: int = 10):
        self.address, self.name, self.keepalive_wanted = (host, port), name, keepalive
        self.socket: socket.socket | None = None
        self.links: dict[int, Link] = {}
        self.last_id = 0
        self.session = b""
        self.welcome: Frame | None = None
        self.max_frame = frames.MAX_FRAME
        self.lame_duck: SluiceError | None = None
        self.ended: SluiceError | None = None
        # When the answers to PINGs came; None for those that are awaited.
        self.pongs: dict[int, float | None] = {}
        self._unread = bytearray()
        self._sent_at = self._heard_at = 0.0

    # The connection

    def connect(self, timeout: float = 10) -> Frame:
        """Says HELLO, with the token of the session if there was one."""
        if self.name and not frames.is_name(self.name):
            raise ValueError(f"{self.name!r} is no name")
        self.socket = socket.create_connection(self.address, timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._unread.clear()
        self.welcome, self.ended, self.lame_duck = None, None, None
        self._heard_at = time.monotonic()
        self.max_frame = frames.MAX_FRAME
        self.send(Frame(frames.HELLO, 0, 0, {
            "keepalive_s": self.keepalive_wanted, "session": self.session, "name": self.name,
        }))
        self.wait(lambda: self.welcome is not None, timeout)
        return self.welcome

    def cut(self) -> None:
        """Breaks the TCP connection, as a network would."""
        if self.socket is not None:
            self.socket.close()
        self.socket = None

    def resume(self, timeout: float = 10) -> bool:
        """Connects again; True if the session went on, False if links were opened afresh.

        If the broker said when, it is waited for that long and up to half as long again: others
        may have been told the same.
        """
        told = self.ended or self.lame_duck
        if told is not None and told.retry_ms:
            time.sleep(told.retry_ms / 1_000 * random.uniform(1, 1.5))
        links = [link for link in self.links.values() if not link.closing]
        self.connect(timeout)
        resumed = self.welcome.has(frames.RESUMED)
        self.links.clear()
        if not resumed:
            self.last_id = 0
        for link in links:
            if not resumed and isinstance(link, Producer):
                link.to_resend.extendleft(reversed(link.unsettled.values()))
                link.unsettled.clear()
            link.open(timeout, resume=resumed)
        return resumed

    def close(self, timeout: float = 10) -> None:
        """Ends the session: CLOSE 0 NORMAL, until the broker closes TCP."""
        if self.socket is None:
            return
        try:
            if self.ended is None:
                self.send(close_frame(0, "NORMAL"))
                # That the broker closes proves that it took all that came before.
                self.wait(lambda: self.ended is not None, timeout)
        except Disconnected:
            pass
        finally:
            self.cut()

    def ping(self, timeout: float = 10) -> float:
        """Seconds there and back."""
        opaque, start = time.monotonic_ns(), time.monotonic()
        self.pongs[opaque] = None
        try:
            self.send(Frame(frames.PING, 0, 0, {"opaque": opaque}))
            self.wait(lambda: self.pongs[opaque] is not None, timeout)
            return self.pongs[opaque] - start
        finally:
            del self.pongs[opaque]

    # Links

    def next_id(self) -> int:
        self.last_id += 1
        return self.last_id

    def consumer(self, topic: str, timeout: float = 10, **options) -> Consumer:
        """Options: group, start=("first", 0), demand=(events, bytes), name."""
        consumer = Consumer(self, topic, options)
        consumer.open(timeout)
        return consumer

    def producer(self, topic: str, timeout: float = 10, **options) -> Producer:
        """Options: available (left out: an unknown backlog), name."""
        producer = Producer(self, topic, options)
        producer.open(timeout)
        return producer

    # Frames

    def send(self, frame: Frame) -> None:
        self.send_bytes(frames.encode(frame))

    def send_bytes(self, data: bytes) -> None:
        if self.socket is None:
            raise Disconnected("DISCONNECTED", "no connection")
        try:
            self.socket.settimeout(30)
            self.socket.sendall(data)
        except OSError as error:
            # Why the broker closed may still lie in the receive buffer.
            self._read_last_words()
            raise Disconnected("DISCONNECTED", str(error)) from error
        self._sent_at = time.monotonic()

    def wait(self, ready: Callable[[], bool], timeout: float, link: Link | None = None) -> None:
        """Reads frames until `ready`; keeps the connection alive meanwhile."""
        deadline = time.monotonic() + timeout
        while not ready():
            if link is not None and link.error is not None:
                raise link.error
            if self.ended is not None:
                raise self.ended
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimedOut("timed out")
            self._pump(left)

    def _pump(self, timeout: float) -> None:
        """Reads once, at most for `timeout`, and handles every whole frame."""
        if self.socket is None:
            raise Disconnected("DISCONNECTED", "no connection")
        if self._take_frames():
            return
        now, keepalive = time.monotonic(), self._keepalive()
        ping_at, dead_at = self._sent_at + keepalive, self._heard_at + 2 * keepalive
        if now >= dead_at:
            self.send(close_frame(0, "IDLE"))
            self.cut()
            raise Disconnected("DISCONNECTED", "nothing came for two keepalives")
        if now >= ping_at:
            self.send(Frame(frames.PING, 0, 0, {"opaque": 0}))
        self.socket.settimeout(max(0.001, min(timeout, ping_at - now, dead_at - now)))
        try:
            data = self.socket.recv(1 << 18)
        except TimeoutError:
            return
        except OSError as error:
            raise Disconnected("DISCONNECTED", str(error)) from error
        if not data:
            raise Disconnected("DISCONNECTED", "the broker closed the connection")
        self._heard_at = time.monotonic()
        self._unread += data
        self._take_frames()

    def _keepalive(self) -> float:
        return self.welcome.keepalive_s if self.welcome is not None else 10

    def _read_last_words(self) -> None:
        try:
            self.socket.settimeout(0.2)
            while data := self.socket.recv(1 << 18):
                self._unread += data
        except OSError:
            pass
        self._take_frames()
        if self.ended is not None:
            raise self.ended

    def _take_frames(self) -> bool:
        took = False
        try:
            while len(self._unread) >= frames.HEADER_BYTES and self.ended is None:
                length, type, flags, link = frames.read_header(
                    bytes(self._unread[: frames.HEADER_BYTES])
                )
                if length > self.max_frame:
                    raise Malformed("too large", frames.CODE_NUMBERS["FRAME_TOO_LARGE"])
                end = frames.HEADER_BYTES + length
                if len(self._unread) < end:
                    break
                body = bytes(self._unread[frames.HEADER_BYTES : end])
                del self._unread[:end]
                took = True
                frame = frames.decode(type, flags, link, body)
                if frame is not None:
                    self._handle(frame)
        except Malformed as error:
            code = frames.code_name(error.code)
            self.ended = SluiceError(code, str(error))
            self.send(close_frame(0, code, str(error)))
            self.cut()
            raise self.ended from error
        return took

    def _handle(self, frame: Frame) -> None:
        if frame.type == frames.WELCOME:
            self._handle_welcome(frame)
        elif frame.type == frames.PING:
            if frame.has(frames.PONG):
                # Signs of life are answered too, and nobody waits for those.
                if frame.opaque in self.pongs:
                    self.pongs[frame.opaque] = time.monotonic()
            else:
                self.send(Frame(frames.PING, 0, frames.PONG, {"opaque": frame.opaque}))
        elif frame.type == frames.CLOSE:
            self._handle_close(frame)
        elif frame.type in (frames.HELLO, frames.OPEN):
            raise Malformed("a frame that only a client sends")
        elif link := self.links.get(frame.link):
            if link.closing:
                return
            try:
                link.handle_opened(frame) if frame.type == frames.OPENED else link.handle(frame)
            except Refused as refused:
                link.refuse(refused)
        elif frame.link > self.last_id:
            raise Malformed("a link never opened", frames.CODE_NUMBERS["BAD_LINK"])

    def _handle_welcome(self, frame: Frame) -> None:
        if self.welcome is not None:
            raise Malformed("a second WELCOME")
        self.welcome = frame
        self.session = frame.session
        self.max_frame = min(self.max_frame, frame.max_frame)

    def _handle_close(self, frame: Frame) -> None:
        error = SluiceError(
            frames.code_name(frame.code), frame.reason, frame.link, frame.retry_ms
        )
        if frame.link == 0:
            if frame.has(frames.GRACEFUL):
                self.lame_duck = error
            else:
                self.ended = error
            return
        link = self.links.pop(frame.link, None)
        if link is None:
            if frame.link > self.last_id:
                raise Malformed("a link never opened", frames.CODE_NUMBERS["BAD_LINK"])
            return
        # A refused OPEN and the answer to our own CLOSE are not answered.
        if link.is_open and not link.closing:
            self.send(close_frame(frame.link, "NORMAL"))
        link.error = link.error or error


if __name__ == "__main__":
    import command

    sys.exit(command.main(sys.argv[1:]))
