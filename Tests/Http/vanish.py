#!/usr/bin/env python3
"""Clients of streams that are gone without a word, and one that is there and takes nothing.

  vanish.py HOST:PORT      opens the streams, and says so; at a line of stdin, all but one vanish

A vanished client's kernel drops whatever comes for it, as if its cable were cut: no FIN, no RST, no
ACK. The broker has to find that out by itself.
"""

from __future__ import annotations

import ctypes
import socket
import struct
import sys

from wire import Connection

SO_ATTACH_FILTER = 26
# One instruction: of a packet 0 bytes are kept.
DROP_ALL = struct.pack("HBBI", 0x06, 0, 0, 0)
TOPICS = ["quiet", "busy"]
WAIT_SECONDS = 20


def stream(address: tuple[str, int], topic: str, accept: str, room: int | None = None):
    s = socket.socket()
    if room:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
    s.settimeout(WAIT_SECONDS)
    s.connect(address)
    path = f"/v1/topics/{topic}/stream?demand=1000"
    s.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\n\r\n".encode())
    head = b""
    while b"\r\n\r\n" not in head:
        head += s.recv(1)
    assert b" 200 " in head, head
    return s


def stream_http2(address: tuple[str, int], topic: str) -> socket.socket:
    c = Connection(address, WAIT_SECONDS, path=f"/v1/topics/{topic}/stream?demand=1000")
    c.shake_hands()
    c.send(c.headers(1, c.get()))
    c.wait(lambda: c.answer(1).status == "200")
    return c.socket


def vanish(s: socket.socket) -> None:
    code = ctypes.create_string_buffer(DROP_ALL, len(DROP_ALL))
    program = struct.pack("HL", 1, ctypes.addressof(code))
    s.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)


def main() -> None:
    host, _, port = sys.argv[1].rpartition(":")
    address = (host, int(port))
    gone = []
    for topic in TOPICS:
        gone.append(stream(address, topic, "text/event-stream"))
        gone.append(stream(address, topic, "application/x-ndjson"))
        gone.append(stream_http2(address, topic))
    there = stream(address, "full", "application/x-ndjson", 4_096)
    print(len(gone) + 1, flush=True)
    sys.stdin.readline()
    for s in gone:
        vanish(s)
    print("gone", flush=True)
    sys.stdin.read()
    there.close()


if __name__ == "__main__":
    main()
