"""What a WebSocket of the broker does at its edges: websocket_checks.py HOST:PORT CHECK."""

import contextlib
import pathlib
import sys
import time
import types

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "Protocol" / "python"))

import frames  # noqa: E402
import sluice  # noqa: E402

HOST = ""
OPEN = contextlib.ExitStack()


def dial(**options):
    options = {"subprotocols": ["sluice.v1"], "compression": None, "max_size": None} | options
    return connect(f"ws://{HOST}/v1/ws", **options)


class Wire:
    """A WebSocket with the manners of a socket, for the client in Protocol/python."""

    def __init__(self):
        self.outer = OPEN.enter_context(dial())
        self.timeout = None

    def setsockopt(self, *words):
        pass

    def settimeout(self, seconds):
        self.timeout = seconds

    def sendall(self, data):
        for start in range(0, len(data), 50_000):
            self.outer.send(data[start : start + 50_000])

    def recv(self, count):
        try:
            return self.outer.recv(timeout=self.timeout)
        except ConnectionClosed:
            return b""

    def close(self):
        self.outer.close()


def client():
    sluice.socket = types.SimpleNamespace(
        create_connection=lambda address, timeout: Wire(), IPPROTO_TCP=0, TCP_NODELAY=0
    )
    found = sluice.Client("", 0)
    found.connect()
    return found


def refused(status, **options):
    try:
        with dial(**options):
            raise AssertionError(f"{options} is not refused")
    except InvalidStatus as error:
        assert error.response.status_code == status, error.response
        assert b"urn:sluice:" in error.response.body, error.response.body


def handshake():
    refused(400, subprotocols=None)
    refused(400, subprotocols=["other"])
    refused(403, origin="http://evil.example")
    refused(403, origin="null")
    with dial(origin=f"http://{HOST}", subprotocols=["other", "sluice.v1"]) as outer:
        assert outer.subprotocol == "sluice.v1"


def closed_with(code, send):
    with dial() as outer:
        try:
            send(outer)
            while True:
                outer.recv(timeout=10)
        except ConnectionClosed as error:
            assert error.rcvd is not None and error.rcvd.code == code, error


def faults():
    closed_with(1003, lambda outer: outer.send("text"))
    closed_with(1009, lambda outer: outer.send(b"x" * 65_537))
    # What is wrong inside is said inside, and then the WebSocket closes in order.
    closed_with(1000, lambda outer: outer.send(b"GET / HTTP/1.1\r\n\r\n"))
    with dial() as outer:
        assert outer.ping(b"there?").wait(10)


def bytewise():
    hello = frames.encode(frames.Frame(frames.HELLO, 0, 0, {
        "keepalive_s": 10, "session": b"", "name": "bytes",
    }))
    with dial() as outer:
        for byte in hello:
            outer.send(bytes([byte]))
        assert outer.recv(timeout=10)[3] == frames.WELCOME


def silent():
    """Who opens one and says nothing hears IDLE, as on a socket."""
    with dial() as outer:
        message = outer.recv(timeout=20)
        length, type, flags, link = frames.read_header(message[: frames.HEADER_BYTES])
        assert type == frames.CLOSE, type
        found = frames.decode(type, flags, link, message[frames.HEADER_BYTES :])
        assert frames.code_name(found.code) == "IDLE", found
        try:
            outer.recv(timeout=10)
            raise AssertionError("it goes on")
        except ConnectionClosed as error:
            assert error.rcvd.code == 1000, error


def conversation():
    broker = client()
    producer = broker.producer("ws", available=3)
    producer.publish(*(sluice.Event(b"%d" % number) for number in range(3)))
    producer.wait_settled()
    assert producer.accepted == 3
    consumer = broker.consumer("ws", start=("first", 0))
    consumer.ask(2)
    assert [consumer.receive().payload for _ in range(2)] == [b"0", b"1"]
    assert broker.ping() >= 0
    # A connection that breaks is resumed on another.
    broker.cut()
    assert broker.resume()
    consumer.ask(1)
    assert consumer.receive().payload == b"2"
    broker.close()


def large():
    broker = client()
    producer = broker.producer("large", available=2)
    payload = bytes(range(256)) * 4_000
    producer.publish(sluice.Event(payload), sluice.Event(payload), timeout=20)
    producer.wait_settled(20)
    consumer = broker.consumer("large", start=("first", 0))
    consumer.ask(2)
    assert all(consumer.receive(20).payload == payload for _ in range(2))
    broker.close()


def stalled():
    """Asks for events, and takes them once a file is there: stalled COUNT FILE."""
    count, file = int(sys.argv[3]), pathlib.Path(sys.argv[4])
    broker = client()
    consumer = broker.consumer("stalled", start=("first", 0))
    consumer.ask(count)
    while not file.exists():
        time.sleep(0.02)
    for number in range(count):
        assert consumer.receive(20).offset == number
    print("all came")


if __name__ == "__main__":
    HOST = sys.argv[1]
    with OPEN:
        globals()[sys.argv[2]]()
