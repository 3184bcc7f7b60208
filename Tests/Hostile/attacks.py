"""What one client does to have a broker to itself, over the binary protocol.

An attack is a function of a `Siege`: it makes ready, calls `begin`, and goes on until `is_over`.
"""

from __future__ import annotations

import contextlib
import errno
import json
import resource
import select
import socket
import struct
import time
from collections.abc import Callable
from multiprocessing.connection import Connection as Pipe

import frames
import good
from frames import Event, Frame, encode
from link import (
    WAIT_SECONDS, Link, Lost, close, demand, hello, open_sink, open_source, publish, records,
    status,
)

CHUNK_BYTES = 1 << 16
# Whoever attacks comes from elsewhere than the good.
FROM = ("127.0.0.2", 0)
CHAFF = 99
# `topicsMax` of the specification.
TOPICS_MAX = 100_000


class Siege:
    """What an attack knows of its time and place."""

    def __init__(self, binary: tuple[str, int], http: tuple[str, int], scale: float, pipe: Pipe):
        self.address, self.http = binary, http
        # 1, or less in the short form: how many of what there are many of.
        self.scale = scale
        self.pipe = pipe
        self.until = float("inf")
        # What it has to tell beside what is wrong.
        self.told = ""
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    def count(self, number: int) -> int:
        return max(1, int(number * self.scale))

    def begin(self) -> None:
        """All is ready: from here on the good client is watched."""
        self.pipe.send("ready")
        self.until = time.monotonic() + self.pipe.recv()

    @property
    def is_over(self) -> bool:
        return time.monotonic() > self.until

    def link(self) -> Link:
        return Link(self.address, source=FROM)

    def plain(self) -> socket.socket:
        s = socket.socket()
        s.bind(FROM)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        s.connect(self.address)
        return s

    def exchange(self, link: Link, data: bytes, is_done: Callable[[], bool] | None = None) -> None:
        """Sends all of it, and reads meanwhile: who does not read is not read either."""
        rest = memoryview(data)
        link.socket.setblocking(False)
        poll = select.poll()
        poll.register(link.socket, select.POLLIN | select.POLLOUT)
        try:
            while rest and not self.is_over:
                for _, events in poll.poll(100):
                    if events & select.POLLIN and not link.read():
                        raise Lost("the broker closed the connection")
                    if events & select.POLLOUT:
                        try:
                            rest = rest[link.socket.send(rest[:CHUNK_BYTES]) :]
                        except BlockingIOError:
                            pass
        finally:
            link.socket.settimeout(WAIT_SECONDS)

    def count_frames(self, link: Link, type: int, wanted: int) -> int:
        """Reads until so many frames of a type have come, or the time is over."""
        link.socket.settimeout(0.2)
        found = 0
        try:
            while found < wanted and not self.is_over:
                found += sum(frame[0] == type for frame in link.frames())
                if found >= wanted:
                    break
                try:
                    if not link.read():
                        raise Lost("the broker closed the connection")
                except Lost as error:
                    if not isinstance(error.__cause__, TimeoutError):
                        raise
        finally:
            link.socket.settimeout(WAIT_SECONDS)
        return found


Attack = Callable[[Siege], None]


def partition_churn(siege: Siege) -> None:
    """Thousands join a group of 1,024 partitions, and leave it."""
    link, count = siege.link(), siege.count(4_000)
    siege.begin()
    first = 1
    while not siege.is_over:
        numbers = range(first, first + count)
        joining = b"".join(
            open_sink(n, "lanes", 10, group="g", dispatcher="partition", partitions=1_024)
            for n in numbers
        )
        siege.exchange(link, joining)
        siege.count_frames(link, frames.OPENED, count)
        siege.exchange(link, b"".join(close(n) for n in numbers))
        siege.count_frames(link, frames.CLOSE, count)
        first += count


def condition(parts: int) -> bytes:
    """Any of so many headers that no event has, as the bytes of a filter."""
    nodes = b""
    for n in range(parts):
        name = b"z%03d" % n
        nodes += struct.pack(">BHB", 1, 1 + len(name), len(name)) + name
    return struct.pack(">BH", 7, len(nodes)) + nodes


def many_headers(siege: Siege) -> None:
    """Filters of 255 parts, and events with 16,000 headers."""
    count = siege.count(100)
    sinks = siege.link()
    test = condition(254)
    sinks.send(b"".join(
        open_sink(n + 1, "headers", 1_000, dispatcher="independent", filter=test)
        for n in range(count)
    ))
    siege.count_frames(sinks, frames.OPENED, count)
    source = siege.link()
    source.send(open_source(1, "headers", 1_000_000))
    record = Event(b"", headers=[("a", b"")] * 16_000).record()
    siege.begin()
    pump(siege, source, record, sinks)


def pump(siege: Siege, source: Link, record: bytes, sinks: Link, batch: int = 1) -> None:
    """Publishes the same records on link 1 as far as credit goes."""
    sent = asked = asked_bytes = told = 0
    for s in (source.socket, sinks.socket):
        s.settimeout(WAIT_SECONDS)
    while not siege.is_over:
        ready, _, _ = select.select([source.socket, sinks.socket], [], [], 0.1)
        if sinks.socket in ready:
            if not sinks.socket.recv(1 << 20):
                return
        if source.socket in ready and not source.read():
            return
        for type, flags, _, body in source.frames():
            if type == frames.CLOSE:
                return
            if type == frames.DEMAND:
                asked = int.from_bytes(body[4:12], "big")
                asked_bytes = int.from_bytes(body[16:24], "big")
        step = len(record) * batch
        while asked - sent >= batch and asked_bytes - sent // batch * step >= step:
            source.send(records(1, sent + 1, record * batch, batch))
            sent += batch
            if siege.is_over:
                return
        lacks = asked_bytes - sent // batch * step < step
        if asked > sent and lacks and told != asked_bytes:
            told = asked_bytes
            source.send(status(
                1, asked=asked, delivered=sent, asked_bytes=asked_bytes,
                delivered_bytes=sent // batch * step, available=1_000, blocked_by=3,
                need_bytes=step,
            ))


def group_memory(siege: Siege) -> None:
    """Named groups of 1,024 partitions, a thousand on each of ten topics, and nobody in them."""
    link, count = siege.link(), siege.count(1_000)
    siege.begin()
    number = 0
    for topic in range(10):
        text = b""
        for group in range(count):
            number += 1
            text += open_sink(
                number, f"many{topic}", 1, group=f"g{group}", dispatcher="partition",
                partitions=1_024,
            ) + close(number)
        siege.exchange(link, text)
    siege.count_frames(link, frames.CLOSE, number)


def dropped_partitions(siege: Siege) -> None:
    """Feeds a full topic that drops the oldest, with a thousand groups of 1,024 partitions."""
    link, count = siege.link(), siege.count(1_000)
    request = {"op": "create-topic", "topic": "dropping", "buffer": 2_000, "onFull": "drop-oldest"}
    publish(link, 1, "$sys/ctl", json.dumps(request).encode(), 1)
    link.send(b"".join(
        open_sink(n + 2, "dropping", 0, group=f"g{n}", dispatcher="partition", partitions=1_024)
        for n in range(count)
    ))
    siege.count_frames(link, frames.OPENED, count)
    source = siege.link()
    source.send(open_source(1, "dropping", 1_000_000))
    keyed = [Event(b"", key=b"%d" % n).record() for n in range(5_000)]
    asked = sent = 0
    source.socket.settimeout(0.2)
    siege.begin()
    while not siege.is_over:
        for type, _, _, body in source.frames():
            if type == frames.DEMAND:
                asked = int.from_bytes(body[4:12], "big")
        count = min(asked - sent, 500)
        if count > 0:
            chosen = [keyed[(sent + n) % len(keyed)] for n in range(count)]
            source.send(records(1, sent + 1, b"".join(chosen), count))
            sent += count
        else:
            with contextlib.suppress(Lost):
                source.read()
    if not sent:
        raise Lost("nothing was asked for")


def announcer(siege: Siege) -> None:
    """Announces 2^63 events to the good client's topic, takes the grants, and sends nothing."""
    link = siege.link()
    asked = 0
    siege.begin()
    link.send(open_source(1, good.TOPIC, 2**63))
    link.socket.settimeout(0.2)
    while not siege.is_over:
        for type, flags, number, body in link.frames():
            if type == frames.DEMAND:
                asked = int.from_bytes(body[4:12], "big")
                if flags & frames.STOP:
                    link.send(status(
                        1, frames.DRAINED, asked=asked, forfeited=asked, stopped_to=asked,
                        asked_bytes=int.from_bytes(body[16:24], "big"),
                        forfeited_bytes=int.from_bytes(body[16:24], "big"),
                        available=2**63, blocked_by=1,
                    ))
            elif type == frames.CLOSE:
                # Whoever is thrown out comes again.
                link.send(open_source(number + 1, good.TOPIC, 2**63))
        try:
            if not link.read():
                return
        except Lost as error:
            if not isinstance(error.__cause__, TimeoutError):
                return


def many_topics(siege: Siege) -> None:
    """A hundred thousand topics by OPEN."""
    link, count = siege.link(), siege.count(100_000)
    siege.begin()
    for start in range(1, count, 1_000):
        if siege.is_over:
            return
        numbers = range(start, start + 1_000)
        siege.exchange(link, b"".join(
            open_sink(n, f"made{n}") + close(n) for n in numbers
        ))
    siege.count_frames(link, frames.CLOSE, count)
    while not siege.is_over:
        time.sleep(0.05)


SESSIONS_PER_S = 2_000


def sessions(siege: Siege) -> None:
    """Connects, opens a link and cuts, two thousand times a second."""
    words = hello("s") + open_sink(1, "s")
    siege.begin()
    start, made = time.monotonic(), 0
    lingering: list[socket.socket] = []
    while not siege.is_over:
        try:
            s = siege.plain()
            s.sendall(words)
            lingering.append(s)
        except OSError as error:
            if error.errno not in (errno.ECONNRESET, errno.EADDRNOTAVAIL, errno.ECONNREFUSED):
                raise
        made += 1
        # Cut when the broker has surely answered.
        if len(lingering) > 50:
            lingering.pop(0).close()
        time.sleep(max(0, start + made / SESSIONS_PER_S - time.monotonic()))


def chaff(length: int) -> bytes:
    """The head of a frame that every broker passes over, however long it is."""
    return length.to_bytes(3, "big") + struct.pack(">BBI", CHAFF, frames.IGNORABLE, 0)


def unfinished(count: int) -> Attack:
    def attack(siege: Siege) -> None:
        """Frames of 1 MiB of which the end does not come."""
        connections = []
        part = hello("u") + chaff(frames.MAX_FRAME) + bytes(300_000)
        for _ in range(count):
            s = siege.plain()
            s.setblocking(False)
            connections.append((s, memoryview(part)))
        siege.begin()
        trickle(siege, connections)

    return attack


def trickled(siege: Siege) -> None:
    """Frames just under 256 KiB, of a thousand connections, that come byte by byte."""
    connections = []
    part = hello("t") + chaff(262_000) + bytes(261_000)
    for _ in range(siege.count(1_000)):
        s = siege.plain()
        s.setblocking(False)
        connections.append((s, memoryview(part)))
    siege.begin()
    trickle(siege, connections)


def trickle(siege: Siege, connections: list[tuple[socket.socket, memoryview]]) -> None:
    """Sends what there is to be sent, and then a byte a second; who is cut stays away."""
    waiting = {s.fileno(): [s, rest] for s, rest in connections}
    poll = select.epoll()
    for number in waiting:
        poll.register(number, select.EPOLLOUT)
    slow: dict[int, socket.socket] = {}
    next_byte = time.monotonic() + 1
    while not siege.is_over:
        for number, _ in poll.poll(0.1):
            entry = waiting.get(number)
            if entry is None:
                continue
            try:
                entry[1] = entry[1][entry[0].send(entry[1][: 1 << 18]) :]
                if entry[1]:
                    continue
                slow[number] = entry[0]
            except BlockingIOError:
                continue
            except OSError:
                pass
            poll.unregister(number)
            del waiting[number]
        if time.monotonic() < next_byte:
            continue
        next_byte += 1
        for number, s in list(slow.items()):
            try:
                s.send(b"\0")
            except BlockingIOError:
                pass
            except OSError:
                del slow[number]


def in_flight(siege: Siege) -> None:
    """Consumers that take every other event and never say that they have received it."""
    count, events = siege.count(900), 8_192
    test = struct.pack(">BHBB", 2, 2, 0, 0x61)
    links = [siege.link() for _ in range(9)]
    for at, link in enumerate(links):
        numbers = range(at * 100, min(count, at * 100 + 100))
        link.send(b"".join(
            open_sink(n + 1, "alternating", 1_000_000, dispatcher="independent", filter=test)
            for n in numbers
        ))
        siege.count_frames(link, frames.OPENED, len(numbers))
    source = siege.link()
    source.send(open_source(1, "alternating", 1_000_000))
    pair = Event(b"", key=b"a").record() + Event(b"", key=b"b").record()
    siege.begin()
    sent = asked = 0
    sockets = [link.socket for link in links]
    while not siege.is_over:
        ready, _, _ = select.select([source.socket, *sockets], [], [], 0.1)
        for s in sockets:
            if s in ready and not s.recv(1 << 20):
                return
        if source.socket in ready and not source.read():
            return
        for type, _, _, body in source.frames():
            if type == frames.DEMAND:
                asked = int.from_bytes(body[4:12], "big")
        if asked - sent >= 256 and sent < 16 * events:
            source.send(records(1, sent + 1, pair * 128, 256))
            sent += 256


def polled_topics(siege: Siege) -> None:
    """A hundred clients that ask for the documents of ten thousand topics, again and again."""
    make_topics(siege, siege.count(10_000))
    links = [siege.link() for _ in range(siege.count(100))]
    for link in links:
        link.send(open_sink(1, "$sys/topics", 1_000))
        link.socket.setblocking(False)
    siege.begin()
    totals = dict.fromkeys((link.socket.fileno() for link in links), 1_000)
    tails = dict.fromkeys(totals, b"")
    by_number = {link.socket.fileno(): link for link in links}
    poll = select.epoll()
    for number in by_number:
        poll.register(number, select.EPOLLIN)
    # What ends each answer: STATUS of link 1 with DRAINED.
    mark = struct.pack(">BBI", frames.STATUS, frames.DRAINED, 1)
    while not siege.is_over:
        for number, _ in poll.poll(0.1):
            link = by_number[number]
            try:
                data = link.socket.recv(1 << 20)
            except BlockingIOError:
                continue
            if not data:
                poll.unregister(number)
                continue
            if mark in tails[number] + data:
                totals[number] += 1_000
                link.send(demand(1, 1_000, totals[number]))
            tails[number] = data[-len(mark) + 1 :]


def make_topics(siege: Siege, count: int) -> int:
    """Topics that last; how many there are now, which is a little less than all there may be."""
    made = tried = 0
    for host in range(2, 250):
        # Behind half of all, an address has no more than half of what is left.
        left = TOPICS_MAX - made
        few = min(count - made, TOPICS_MAX // 2 if made == 0 else left // 4)
        if few <= 0:
            break
        made += make_few_topics(siege, (f"127.0.0.{host}", 0), range(tried, tried + few))
        tried += few
    return made


def make_few_topics(siege: Siege, source: tuple[str, int], all: range) -> int:
    link, made = Link(siege.address, source=source), 0
    # Topics that somebody uses are not tidied away.
    for start in range(0, len(all), 1_000):
        part = all[start : start + 1_000]
        link.send(b"".join(
            encode(Frame(frames.OPEN, number - all.start + 1, fields={
                "role": frames.SINK, "topic": f"made{number}",
                "options": frames.options(group="g", demand=(1, 0)),
            })) + close(number - all.start + 1) for number in part
        ))
        closed = 0
        while closed < len(part):
            # Who closes at once may hear of that alone, so that OPENED tells too little.
            for type, flags, number, body in link.frames():
                if type == frames.CLOSE:
                    code = frames.decode(type, flags, number, body).code
                    made += frames.code_name(code) == "NORMAL"
                    closed += 1
            if closed < len(part) and not link.read():
                raise Lost("the broker closed the connection")
    link.close()
    return made


def flipping(siege: Siege) -> None:
    """Nine thousand producers of the good client's topic that have events, and none, and some."""
    link, count = siege.link(), siege.count(9_000)
    numbers = range(1, count + 1)
    siege.exchange(link, b"".join(open_source(n, good.TOPIC) for n in numbers))
    siege.count_frames(link, frames.OPENED, count)
    some = b"".join(status(n, available=5, blocked_by=1) for n in numbers)
    none = b"".join(status(n, available=0, blocked_by=2) for n in numbers)
    siege.begin()
    while not siege.is_over:
        siege.exchange(link, some)
        siege.exchange(link, none)
        link.unread.clear()


def abandoned_group(siege: Siege) -> None:
    """One OPEN of a group on the good client's topic, and nobody there any more."""
    link = siege.link()
    link.send(open_sink(1, good.TOPIC, 1, group="left") + close(1))
    siege.count_frames(link, frames.CLOSE, 1)
    siege.begin()
    while not siege.is_over:
        time.sleep(0.05)
