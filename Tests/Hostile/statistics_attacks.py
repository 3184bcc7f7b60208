"""What one client does to learn of a hundred thousand topics, over HTTP, again and again."""

from __future__ import annotations

import socket
import statistics
import time
from collections.abc import Callable

from attacks import FROM, WAIT_SECONDS, Siege, make_topics
from link import Lost
from wire import END_HEADERS, END_STREAM, Type
from web_attacks import floods

TOPICS = 100_000
# What one look at all of them may take.
SECONDS_MAX = 1.0
SEEN_SHARE_MIN = 0.99
READ_BYTES = 1 << 18
WINDOW_BYTES = 1 << 30


class Reader:
    """A connection of which bytes are read that have a known end."""

    def __init__(self, siege: Siege):
        self.socket = socket.create_connection(siege.http, WAIT_SECONDS, FROM)
        self.unread = bytearray()

    def more(self) -> None:
        data = self.socket.recv(READ_BYTES)
        if not data:
            raise Lost("the broker closed the connection")
        self.unread += data

    def until(self, mark: bytes) -> bytes:
        seen = 0
        while (end := self.unread.find(mark, seen)) < 0:
            seen = max(0, len(self.unread) - len(mark))
            self.more()
        return self.take(end + len(mark))

    def take(self, count: int) -> bytes:
        while len(self.unread) < count:
            self.more()
        taken = bytes(self.unread[:count])
        del self.unread[:count]
        return taken

    def get(self, path: str) -> bytes:
        """An answer in HTTP/1.1, whose body has chunks."""
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        head = self.until(b"\r\n\r\n")
        if b" 200 " not in head[:20]:
            raise Lost(f"{path}: {head[:200]!r}")
        parts = []
        while length := int(self.until(b"\r\n"), 16):
            parts.append(self.take(length + 2)[:-2])
        self.take(2)
        return b"".join(parts)


def scrape(siege: Siege) -> Callable[[], int]:
    """GET /metrics."""
    reader = Reader(siege)

    def look() -> int:
        body = reader.get("/metrics")
        line = next(line for line in body.splitlines() if line.startswith(b"sluice_topics "))
        return int(line.split()[1])

    return look


def documents(siege: Siege) -> Callable[[], int]:
    """GET /v1/topics, with all of their documents."""
    reader = Reader(siege)
    return lambda: reader.get("/v1/topics").count(b'"topic":"made')


def pages(siege: Siege) -> Callable[[], int]:
    """ListTopics of gRPC, one page behind the other."""
    reader, target = Reader(siege), floods.Target(siege.http, "", "/sluice.v1.Broker/ListTopics")
    reader.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    window = WINDOW_BYTES.to_bytes(4, "big")
    reader.socket.sendall(
        floods.PREFACE + floods.settings((floods.Setting.INITIAL_WINDOW_SIZE, WINDOW_BYTES))
        + floods.raw(Type.WINDOW_UPDATE, 0, 0, window)
    )
    block = target.block("POST", ("content-type", "application/grpc"), ("te", "trailers"))
    stream = -1

    def look() -> int:
        nonlocal stream
        found, token = 0, b""
        while True:
            stream += 2
            message = bytes([0x12, len(token)]) + token if token else b""
            reader.socket.sendall(
                floods.raw(Type.HEADERS, END_HEADERS, stream, block) + floods.data(
                    stream, b"\0" + len(message).to_bytes(4, "big") + message, END_STREAM
                )
            )
            topics, token = read_page(answer(reader, stream))
            found += topics
            if not token:
                return found

    return look


def answer(reader: Reader, stream: int) -> bytes:
    """The message of an answer; its bytes are let come again."""
    body = bytearray()
    while True:
        head = reader.take(9)
        payload = reader.take(int.from_bytes(head[:3], "big"))
        type, flags, number = head[3], head[4], int.from_bytes(head[5:], "big")
        if type == Type.GOAWAY:
            raise Lost("GOAWAY")
        if number != stream:
            continue
        if type == Type.DATA:
            body += payload
        if type == Type.RST_STREAM or flags & END_STREAM and type in (Type.DATA, Type.HEADERS):
            break
    reader.socket.sendall(floods.raw(Type.WINDOW_UPDATE, 0, 0, len(body).to_bytes(4, "big")))
    return bytes(body[5:])


def read_page(message: bytes) -> tuple[int, bytes]:
    """How many topics there are in a ListTopicsResponse, and the token of the next page."""
    position, topics, token = 0, 0, b""
    while position < len(message):
        field = message[position]
        position, length, shift = position + 1, 0, 0
        while True:
            byte = message[position]
            length |= (byte & 0x7F) << shift
            position, shift = position + 1, shift + 7
            if byte < 0x80:
                break
        if field == 0x12:
            token = message[position : position + length]
        else:
            topics += 1
        position += length
    return topics, token


def looks(make: Callable[[Siege], Callable[[], int]], seconds_max: float = SECONDS_MAX):
    """Looks at all topics again and again; tells if it did not see them, or took too long."""

    def play(siege: Siege) -> str:
        count = make_topics(siege, siege.count(TOPICS))
        look = make(siege)
        siege.begin()
        times: list[float] = []
        while not siege.is_over or not times:
            began = time.monotonic()
            seen = look()
            times.append(time.monotonic() - began)
            # A few that another shard refused may be counted as made.
            if seen < SEEN_SHARE_MIN * count:
                return f"{seen} of {count} topics were seen"
        middle = statistics.median(times)
        siege.told = f"{count} topics in {middle * 1_000:.0f} ms"
        if middle > seconds_max and siege.scale == 1:
            return f"all topics took {middle:.1f} s"
        return ""

    play.__doc__ = make.__doc__
    return play
