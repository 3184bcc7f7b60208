"""HTTP/2 as frames on a socket, for one who wants to say wrong things on purpose.

A `Connection` sends what it is told, whole or broken, and books what comes. Unasked it does only
what a test would else have to do everywhere: it acknowledges SETTINGS and answers PING.
"""

from __future__ import annotations

import enum
import socket
import struct
import time
from dataclasses import dataclass, field
from typing import Callable

import hpack
import hyperframe.exceptions
from hyperframe.frame import (
    ContinuationFrame, DataFrame, Frame, GoAwayFrame, HeadersFrame, PingFrame, PushPromiseFrame,
    RstStreamFrame, SettingsFrame, WindowUpdateFrame,
)

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADER_BYTES = 9
# RFC 9113, 6.5.2 and 6.9.2: what holds until SETTINGS say otherwise.
FRAME_BYTES = 16_384
WINDOW_BYTES = 65_535
TABLE_BYTES = 4_096
WINDOW_MAX = 2**31 - 1

Pair = tuple[str, str]


class Code(enum.IntEnum):
    """The error codes of RFC 9113, 7."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    CONNECT_ERROR = 10
    ENHANCE_YOUR_CALM = 11
    INADEQUATE_SECURITY = 12
    HTTP_1_1_REQUIRED = 13

    @classmethod
    def text(cls, code: int) -> str:
        return cls(code).name if code in cls._value2member_map_ else f"code {code}"


class Type(enum.IntEnum):
    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9
    # Of no specification: who does not know a type must pass over it.
    UNKNOWN = 0xBB


class Setting(enum.IntEnum):
    HEADER_TABLE_SIZE = 1
    ENABLE_PUSH = 2
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5
    MAX_HEADER_LIST_SIZE = 6
    UNKNOWN = 0xF0F0


ACK = END_STREAM = 0x1
END_HEADERS = 0x4
PADDED = 0x8
PRIORITY = 0x20


class Late(Exception):
    """What was waited for did not come in time."""


class Lost(Exception):
    """The server closed the connection before it came."""


class Violation(Exception):
    """The server itself broke the protocol."""


def raw(type: int, flags: int, stream: int, payload: bytes = b"", length: int | None = None):
    """A frame of any bytes, with a length that need not be true."""
    length = len(payload) if length is None else length
    return length.to_bytes(3, "big") + struct.pack(">BBI", type, flags, stream) + payload


def setting(*pairs: tuple[int, int]) -> bytes:
    """The payload of SETTINGS; a key may come twice."""
    return b"".join(struct.pack(">HI", key, value) for key, value in pairs)


def settings(*pairs: tuple[int, int]) -> bytes:
    return raw(Type.SETTINGS, 0, 0, setting(*pairs))


def data(stream: int, payload: bytes = b"", flags: int = 0) -> bytes:
    return raw(Type.DATA, flags, stream, payload)


def ping(opaque: bytes = b"question", flags: int = 0) -> bytes:
    return raw(Type.PING, flags, 0, opaque)


def reset(stream: int, code: int = Code.CANCEL) -> bytes:
    return raw(Type.RST_STREAM, 0, stream, struct.pack(">I", code))


def priority(stream: int, parent: int = 0) -> bytes:
    return raw(Type.PRIORITY, 0, stream, struct.pack(">IB", parent, 15))


def window(stream: int, increment: int) -> bytes:
    return raw(Type.WINDOW_UPDATE, 0, stream, struct.pack(">I", increment))


def goaway(stream: int = 0, last: int = 0, code: int = 0, text: bytes = b"") -> bytes:
    return raw(Type.GOAWAY, 0, stream, struct.pack(">II", last, code) + text)


@dataclass
class Answer:
    """What came on one stream."""

    blocks: list[list[Pair]] = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)
    ended: bool = False

    @property
    def statuses(self) -> list[str]:
        return [value for block in self.blocks for name, value in block if name == ":status"]

    @property
    def status(self) -> str | None:
        """The final one; an interim answer is none."""
        return next((status for status in self.statuses if not status.startswith("1")), None)


class Connection:
    """One connection, from before its preface on."""

    def __init__(
        self, address: tuple[str, int], deadline: float = 5, path: str = "/", post_path: str = "/"
    ):
        self.deadline, self.path, self.post_path = deadline, path, post_path
        self.socket = socket.create_connection(address, deadline)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.authority = "%s:%d" % address
        self.encoder, self.decoder = hpack.Encoder(), hpack.Decoder()
        self.settings: dict[int, int] | None = None
        self.acks = 0
        self.answers: dict[int, Answer] = {}
        self.resets: dict[int, int] = {}
        # What the server lets us send, by stream; 0 is the connection.
        self.windows: dict[int, int] = {0: WINDOW_BYTES}
        self.pongs: list[bytes] = []
        self.goaway: GoAwayFrame | None = None
        self.closed = False
        self.story: list[str] = []
        self._unread = bytearray()
        self._block: tuple[int, bytes, bool] | None = None

    def close(self) -> None:
        self.socket.close()

    # Out

    def send(self, *parts: bytes) -> None:
        try:
            self.socket.settimeout(self.deadline)
            self.socket.sendall(b"".join(parts))
        except (BrokenPipeError, ConnectionResetError):
            # Why it was closed may still lie in the receive buffer.
            pass
        except TimeoutError as error:
            raise Late("the server stopped reading") from error

    def shake_hands(self, *pairs: tuple[int, int]) -> None:
        """Preface and SETTINGS, until both sides acknowledged the other's."""
        self.send(PREFACE, settings(*pairs))
        self.wait(lambda: self.settings is not None and self.acks > 0)

    def set(self, *pairs: tuple[int, int]) -> None:
        """SETTINGS, until they are acknowledged."""
        acks = self.acks
        self.send(settings(*pairs))
        self.wait(lambda: self.acks > acks)

    def headers(
        self, stream: int, fields: list[Pair], flags: int = END_HEADERS | END_STREAM
    ) -> bytes:
        return raw(Type.HEADERS, flags, stream, self.encoder.encode(fields))

    def get(self, *more: Pair) -> list[Pair]:
        return self.fields("GET", self.path, *more)

    def post(self, *more: Pair) -> list[Pair]:
        kind = ("content-type", "application/octet-stream")
        return self.fields("POST", self.post_path, kind, *more)

    def fields(self, method: str, path: str, *more: Pair) -> list[Pair]:
        return [
            (":method", method), (":scheme", "http"), (":authority", self.authority),
            (":path", path), *more,
        ]

    def window_of(self, stream: int) -> int:
        """How much DATA may be sent on a stream."""
        initial = (self.settings or {}).get(Setting.INITIAL_WINDOW_SIZE, WINDOW_BYTES)
        return min(self.windows[0], initial + self.windows.get(stream, 0))

    def spend(self, stream: int, count: int) -> None:
        self.windows[0] -= count
        self.windows[stream] = self.windows.get(stream, 0) - count

    def send_body(self, stream: int, body: bytes) -> None:
        """DATA to the last with END_STREAM, never more than the windows let through."""
        while body:
            self.wait(lambda: self.window_of(stream) > 0)
            part = body[: min(FRAME_BYTES, self.window_of(stream))]
            body = body[len(part) :]
            self.spend(stream, len(part))
            self.send(data(stream, part, 0 if body else END_STREAM))

    # In

    def wait(self, ready: Callable[[], object]) -> None:
        """Reads frames until `ready`."""
        until = time.monotonic() + self.deadline
        while not ready():
            if self.closed:
                raise Lost
            left = until - time.monotonic()
            if left <= 0:
                raise Late
            self.read(left)

    def wait_end(self) -> None:
        """Reads until the server closes."""
        self.wait(lambda: self.closed)

    def ping(self, opaque: bytes = b"a living") -> None:
        """There and back: what the server answered at once to all before is here by then."""
        count = len(self.pongs)
        self.send(ping(opaque))
        self.wait(lambda: opaque in self.pongs[count:])

    def answer(self, stream: int = 1) -> Answer:
        return self.answers.setdefault(stream, Answer())

    def read(self, timeout: float) -> None:
        """Reads once, at most for `timeout`, and books every whole frame."""
        try:
            self.socket.settimeout(timeout)
            read = self.socket.recv(65_536)
        except TimeoutError:
            return
        except ConnectionResetError:
            read = b""
        if not read:
            self.closed = True
            self.story.append("closed")
        self._unread += read
        while frame := self._frame():
            self._book(frame)

    def _frame(self) -> Frame | None:
        if len(self._unread) < HEADER_BYTES:
            return None
        try:
            frame, length = Frame.parse_frame_header(memoryview(bytes(self._unread[:9])))
            if length > FRAME_BYTES:
                raise Violation(f"a frame of {length} bytes")
            if len(self._unread) < HEADER_BYTES + length:
                return None
            frame.parse_body(memoryview(bytes(self._unread[9 : 9 + length])))
        except hyperframe.exceptions.HyperframeError as error:
            raise Violation(f"a broken frame: {error!r}") from error
        del self._unread[: HEADER_BYTES + length]
        return frame

    def _book(self, frame: Frame) -> None:
        if self._block is not None and not isinstance(frame, ContinuationFrame):
            raise Violation("another frame inside a field block")
        if self.settings is None and not isinstance(frame, SettingsFrame):
            raise Violation("the first frame is not SETTINGS")
        self.story.append(describe(frame))
        match frame:
            case SettingsFrame() if "ACK" in frame.flags:
                self.acks += 1
            case SettingsFrame():
                self.settings = {**(self.settings or {}), **frame.settings}
                table = self.settings.get(Setting.HEADER_TABLE_SIZE, TABLE_BYTES)
                self.encoder.header_table_size = min(TABLE_BYTES, table)
                self.send(raw(Type.SETTINGS, ACK, 0))
            case PingFrame() if "ACK" in frame.flags:
                self.pongs.append(bytes(frame.opaque_data))
            case PingFrame():
                self.send(ping(frame.opaque_data, ACK))
            case HeadersFrame() | ContinuationFrame():
                self._book_block(frame)
            case DataFrame():
                self.answer(frame.stream_id).body += frame.data
                self.answer(frame.stream_id).ended |= "END_STREAM" in frame.flags
            case RstStreamFrame():
                self.resets[frame.stream_id] = frame.error_code
            case WindowUpdateFrame():
                stream = frame.stream_id
                self.windows[stream] = self.windows.get(stream, 0) + frame.window_increment
            case GoAwayFrame():
                self.goaway = frame
            case PushPromiseFrame():
                raise Violation("PUSH_PROMISE, which nobody wanted")

    def _book_block(self, frame: HeadersFrame | ContinuationFrame) -> None:
        stream, block, ends = self._block or (frame.stream_id, b"", False)
        if stream != frame.stream_id:
            raise Violation("CONTINUATION on another stream")
        self._block = (stream, block + frame.data, ends or "END_STREAM" in frame.flags)
        if "END_HEADERS" not in frame.flags:
            return
        stream, block, ends = self._block
        self._block = None
        try:
            decoded = self.decoder.decode(block, raw=True)
        except hpack.HPACKError as error:
            raise Violation(f"a field block that cannot be read: {error!r}") from error
        pairs = [(name.decode("latin1"), value.decode("latin1")) for name, value in decoded]
        self.answer(stream).blocks.append(pairs)
        self.answer(stream).ended |= ends
        if self.answer(stream).statuses:
            self.story[-1] += " " + self.answer(stream).statuses[-1]


def describe(frame: Frame) -> str:
    """A frame in a few words, for the account of what came."""
    name = type(frame).__name__.removesuffix("Frame")
    words = [name, *sorted(frame.flags)]
    if frame.stream_id:
        words.insert(1, str(frame.stream_id))
    match frame:
        case GoAwayFrame():
            words += [Code.text(frame.error_code), f"last {frame.last_stream_id}"]
            words += [repr(bytes(frame.additional_data))] if frame.additional_data else []
        case RstStreamFrame():
            words.append(Code.text(frame.error_code))
        case DataFrame():
            words.append(f"of {len(frame.data)}")
        case WindowUpdateFrame():
            words.append(f"+{frame.window_increment}")
    return " ".join(words)
