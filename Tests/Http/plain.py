"""HTTP/1.1 as lines on a socket, for one who wants to say wrong things on purpose."""

from __future__ import annotations

import re
import socket
import time
from dataclasses import dataclass

from wire import Late, Lost, Violation

END_OF_HEAD = b"\r\n\r\n"


@dataclass
class Reply:
    """One answer, as it came."""

    status: str
    fields: dict[str, str]
    body: bytes


class PlainConnection:
    """One connection; answers are read one after the other, framed as RFC 9112, 6.3 says."""

    def __init__(self, address: tuple[str, int], deadline: float, path: str, post_path: str):
        self.deadline, self.path, self.post_path = deadline, path, post_path
        self.socket = socket.create_connection(address, deadline)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.authority = "%s:%d" % address
        self.closed = False
        self.story: list[str] = []
        self._unread = bytearray()

    def close(self) -> None:
        self.socket.close()

    # Out

    def shake_hands(self) -> None:
        """There is nothing to agree on."""

    def send(self, *parts: bytes) -> None:
        try:
            self.socket.settimeout(self.deadline)
            self.socket.sendall(b"".join(parts))
        except (BrokenPipeError, ConnectionResetError):
            # Why it was closed may still lie in the receive buffer.
            pass
        except TimeoutError as error:
            raise Late("the server stopped reading") from error

    def end(self) -> None:
        """No more comes from us."""
        self.socket.shutdown(socket.SHUT_WR)

    def host(self) -> str:
        return f"Host: {self.authority}"

    def get(self, *fields: str, version: str = "1.1") -> bytes:
        return self.lines(f"GET {self.path} HTTP/{version}", self.host(), *fields)

    def post(self, *fields: str) -> bytes:
        kind = "Content-Type: application/octet-stream"
        return self.lines(f"POST {self.post_path} HTTP/1.1", self.host(), kind, *fields)

    def lines(self, *lines: str) -> bytes:
        """A whole head; what is not ASCII goes out as one byte a character."""
        return "".join(f"{line}\r\n" for line in [*lines, ""]).encode("latin1")

    # In

    def reply(self, is_head: bool = False) -> Reply:
        """The next final answer; interim ones are passed over."""
        while True:
            reply = self._one_reply(is_head)
            self.story.append(reply.status)
            if not reply.status.startswith("1") or reply.status == "101":
                return reply

    def wait_end(self) -> bytes:
        """Reads until the server closes: what came that was no part of an answer read before."""
        until = time.monotonic() + self.deadline
        while not self.closed:
            self._read(until)
        return bytes(self._unread)

    def _one_reply(self, is_head: bool) -> Reply:
        until = time.monotonic() + self.deadline
        while END_OF_HEAD not in self._unread:
            self._need(until)
        head, _, rest = bytes(self._unread).partition(END_OF_HEAD)
        self._unread = bytearray(rest)
        first, *lines = head.decode("latin1").split("\r\n")
        match = re.fullmatch(r"HTTP/1\.[01] ([1-5]\d\d)( .*)?", first)
        if match is None:
            raise Violation(f"the status line {first!r}")
        fields = {}
        for line in lines:
            name, colon, value = line.partition(":")
            if not colon or not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
                raise Violation(f"the field line {line!r}")
            fields[name.lower()] = value.strip()
        return Reply(match[1], fields, self._body(match[1], fields, is_head, until))

    def _body(self, status: str, fields: dict[str, str], is_head: bool, until: float) -> bytes:
        if is_head or status.startswith("1") or status in ("204", "304"):
            return b""
        if "transfer-encoding" in fields:
            return self._chunks(until)
        if "content-length" in fields:
            return self._take(int(fields["content-length"]), until)
        body = self.wait_end()
        self._unread.clear()
        return body

    def _chunks(self, until: float) -> bytes:
        body = b""
        while size := int(self._line(until).partition(b";")[0], 16):
            body += self._take(size, until)
            if self._line(until):
                raise Violation("a chunk that does not end where it says")
        while self._line(until):
            pass
        return body

    def _line(self, until: float) -> bytes:
        while b"\r\n" not in self._unread:
            self._need(until)
        line, _, rest = bytes(self._unread).partition(b"\r\n")
        self._unread = bytearray(rest)
        return line

    def _take(self, count: int, until: float) -> bytes:
        while len(self._unread) < count:
            self._need(until)
        taken = bytes(self._unread[:count])
        del self._unread[:count]
        return taken

    def _need(self, until: float) -> None:
        if self.closed:
            raise Lost
        self._read(until)

    def _read(self, until: float) -> None:
        left = until - time.monotonic()
        if left <= 0:
            raise Late
        try:
            self.socket.settimeout(left)
            read = self.socket.recv(65_536)
        except TimeoutError:
            return
        except ConnectionResetError:
            read = b""
        self._unread += read
        if not read:
            self.closed = True
            self.story.append("closed")
