"""Carries TCP connections over WebSockets, so that every client can go that way.

tunnel.py URL: prints the port that it listens on, and ends with its standard input.
"""

import contextlib
import random
import socket
import sys
import threading

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

SUBPROTOCOL = "sluice.v1"


def parts(data: bytes, generator: random.Random):
    """The bytes in messages that end where nothing else does."""
    while data:
        size = generator.choice([1, 7, 1_000, 60_000])
        yield data[:size]
        data = data[size:]


def up(client: socket.socket, outer) -> None:
    generator = random.Random(1)
    with contextlib.suppress(OSError, ConnectionClosed):
        while data := client.recv(1 << 16):
            for part in parts(data, generator):
                # A message of several frames is none of the broker's business either.
                outer.send([part[:3], part[3:]] if generator.random() < 0.1 else part)
    outer.close()


def carry(client: socket.socket, url: str) -> None:
    with client, connect(url, subprotocols=[SUBPROTOCOL], compression=None) as outer:
        threading.Thread(target=up, args=(client, outer), daemon=True).start()
        with contextlib.suppress(OSError, ConnectionClosed):
            for message in outer:
                client.sendall(message)


def main(url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            client, _ = listener.accept()
            threading.Thread(target=carry, args=(client, url), daemon=True).start()


if __name__ == "__main__":
    main(sys.argv[1])
