"""What one client does over HTTP. The floods are scripts of bytes, in `Tests/Http/floods.py`."""

from __future__ import annotations

import select
import socket
import time

import floods
from attacks import FROM, Siege, make_topics

BODY_BYTES = 4_194_304
FLOOD_SECONDS = 2.0
PATH, POST = "/livez", "/v1/topics/flooded/events"


def tiny_events(siege: Siege) -> None:
    """Bodies of 4 MiB with 260,000 events in JSON."""
    event = b'{"payload":""},'
    body = b"[" + event * ((BODY_BYTES - 20) // len(event)) + b'{"payload":""}]'
    head = (
        f"POST /v1/topics/tiny/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode()
    siege.begin()
    repeat(siege, [head + body] * 2)


def scrapes(siege: Siege) -> None:
    """Metrics of ten thousand topics, one scrape after the other."""
    make_topics(siege, siege.count(10_000))
    siege.begin()
    repeat(siege, [b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"])


def repeat(siege: Siege, requests: list[bytes]) -> None:
    """Each request on a connection of its own, and again when something was answered to all of it.

    That is for an answer's end to say; here it is enough that nothing came for a moment.
    """
    open_: dict[int, tuple[socket.socket, bytes]] = {}
    rest: dict[int, memoryview] = {}
    heard: dict[int, float] = {}
    poll = select.epoll()

    def connect(request: bytes) -> None:
        s = socket.socket()
        s.bind(FROM)
        s.connect(siege.http)
        s.setblocking(False)
        number = s.fileno()
        open_[number], rest[number], heard[number] = (s, request), memoryview(request), 0
        poll.register(number, select.EPOLLIN | select.EPOLLOUT)

    for request in requests:
        connect(request)
    while not siege.is_over:
        for number, events in poll.poll(0.02):
            s, request = open_[number]
            try:
                if events & select.EPOLLIN:
                    if not s.recv(1 << 20):
                        raise ConnectionResetError
                    heard[number] = time.monotonic()
                if events & select.EPOLLOUT:
                    rest[number] = rest[number][s.send(rest[number][: 1 << 18]) :]
                    if not rest[number]:
                        poll.modify(number, select.EPOLLIN)
            except BlockingIOError:
                pass
            except OSError:
                poll.unregister(number)
                del open_[number]
                s.close()
                connect(request)
        for number, (_, request) in open_.items():
            answered = heard[number] and time.monotonic() - heard[number] > 0.02
            if answered and not rest[number]:
                rest[number], heard[number] = memoryview(request), 0
                poll.modify(number, select.EPOLLIN | select.EPOLLOUT)


def flood(attack: floods.Attack):
    """One of the floods; tells what was not cut in time."""

    def play(siege: Siege) -> str:
        target = floods.Target(siege.http, PATH, POST)
        # A slow attacker is not in a hurry to come again.
        seconds = FLOOD_SECONDS if attack.within <= FLOOD_SECONDS else 0
        storm = floods.Siege(attack, target, seconds * siege.scale)
        siege.begin()
        outcome = storm.run()
        if outcome.uncut:
            return f"{outcome.uncut} of {attack.connections} were never cut"
        slowest = max(outcome.cuts, default=0)
        return f"cut after {slowest:.1f} s" if slowest > attack.within else ""

    play.__doc__ = attack.name
    return play
