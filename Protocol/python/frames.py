"""The frames of the Sluice protocol as bytes; written from ../protocol.md alone."""

from __future__ import annotations

import struct
import unicodedata
from dataclasses import dataclass, field

HEADER_BYTES = 9
MAGIC = 0x534C4345
MAX_FRAME = 1_048_576
MAX_KEY = 1_024
MAX_HEADERS = 65_535
MAX_RUNS = 4_096
MAX_MARKER = 1_024
MAX_SETTLE_RANGES = 1_024

HELLO, WELCOME, PING, OPEN, OPENED, DEMAND, EVENTS, SETTLE, STATUS, CLOSE = range(1, 11)
TYPE_NAMES = {
    HELLO: "HELLO", WELCOME: "WELCOME", PING: "PING", OPEN: "OPEN", OPENED: "OPENED",
    DEMAND: "DEMAND", EVENTS: "EVENTS", SETTLE: "SETTLE", STATUS: "STATUS", CLOSE: "CLOSE",
}
IGNORABLE = 0x80
RESUMED = 0x01  # WELCOME, OPENED
PONG = 0x01
DRAIN, STOP, DEMAND_ECHO = 0x01, 0x02, 0x04
GAP, END, MARKER = 0x01, 0x02, 0x04
DRAINED, STATUS_ECHO = 0x01, 0x04
GRACEFUL = 0x01
KNOWN_FLAGS = {
    HELLO: 0, WELCOME: RESUMED, PING: PONG, OPEN: 0, OPENED: RESUMED,
    DEMAND: DRAIN | STOP | DEMAND_ECHO, EVENTS: GAP | END | MARKER, SETTLE: 0,
    STATUS: DRAINED | STATUS_ECHO, CLOSE: GRACEFUL,
}

SINK, SOURCE = 0, 1
START_KINDS = {"new": 0, "first": 1, "offset": 2, "time": 3}
DISPATCHERS = ["demand", "broadcast", "partition", "exclusive", "independent", "fair"]
LAG_POLICIES = ["block", "drop-oldest", "drop-newest", "detach"]
# The options of groups and members: tag and layout.
MEMBER_OPTIONS = {
    "weight": (8, "H"), "priority": (9, "B"), "lag": (10, "BI"), "partitions": (11, "H"),
    "claim": (12, "H"), "filter": (13, ""), "sample": (14, "I"), "batch": (15, "II"),
    "rate": (16, "II"), "ephemeral": (17, "B"), "patience": (18, "I"),
}
GAP_REASONS = {1: "cut", 2: "dropped", 3: "purged", 4: "lagged"}
OUTCOMES = {0: "accept", 1: "release", 2: "retry", 3: "reject", 4: "extend"}
# A producer's `available` when it does not know.
UNKNOWN_BACKLOG = 2**64 - 1
BLOCKED_BY = [
    "nothing", "no_demand", "no_events", "bytes", "unsettled", "paused", "filter", "window",
    "buffer", "rate", "batch", "standby", "others", "partition",
]
CODES = {
    0: "NORMAL", 1: "CANCELLED", 2: "COMPLETE", 3: "GOING_AWAY", 4: "REPLACED",
    5: "TOPIC_DELETED", 6: "GROUP_REMOVED", 7: "LAGGED", 8: "IDLE", 16: "PROTOCOL",
    17: "VERSION",
    18: "FRAME_TOO_LARGE", 19: "CREDIT_OVERRUN", 20: "CREDIT_MISMATCH", 21: "BAD_LINK",
    22: "BAD_OPTION", 23: "BAD_DEMAND", 24: "EVENT_TOO_LARGE", 25: "RECALL_TIMEOUT",
    32: "AUTH_FAILED", 33: "FORBIDDEN", 34: "NOT_FOUND", 35: "LIMIT", 36: "BUSY", 38: "EXISTS",
    39: "DISCARDED", 40: "KICKED", 48: "INTERNAL",
}
CODE_NUMBERS = {name: number for number, name in CODES.items()}


# Categories of the characters that no name has, see "Names" in the protocol.
NO_NAME = {"Cc", "Cf", "Zs", "Zl", "Zp"}
MAX_NAME = 200


def is_name(text: str) -> bool:
    """Whether a topic, a group, a link or a client may be called so."""
    return 1 <= len(text.encode()) <= MAX_NAME and not any(
        unicodedata.category(character) in NO_NAME for character in text
    )


def code_name(code: int) -> str:
    return CODES.get(code, f"CODE_{code}")


class Malformed(Exception):
    """The bytes break the protocol; `code` is what the peer is to be told."""

    def __init__(self, reason: str, code: int = CODE_NUMBERS["PROTOCOL"]):
        super().__init__(reason)
        self.code = code


class Reader:
    """Takes fields off the front of a body, and refuses to read past its end."""

    def __init__(self, body: bytes):
        self.body = body
        self.position = 0

    @property
    def remaining(self) -> int:
        return len(self.body) - self.position

    def take(self, count: int) -> bytes:
        if count > self.remaining:
            raise Malformed("a body that is too short for its fields")
        taken = self.body[self.position : self.position + count]
        self.position += count
        return taken

    def numbers(self, layout: str) -> tuple:
        return struct.unpack(">" + layout, self.take(struct.calcsize(">" + layout)))

    def number(self, layout: str) -> int:
        return self.numbers(layout)[0]

    def text(self, count: int) -> str:
        try:
            return self.take(count).decode("utf-8")
        except UnicodeDecodeError as error:
            raise Malformed("text that is not UTF-8") from error


# Events


@dataclass
class Event:
    """One event; what the broker adds is 0 on the way to it."""

    payload: bytes
    key: bytes | None = None
    headers: list[tuple[str, bytes]] = field(default_factory=list)
    sequence: int = 0
    offset: int = 0
    time_us: int = 0
    attempt: int = 0

    def record(self) -> bytes:
        flags, body = 0, b""
        if self.key is not None:
            flags |= 0x01
            body += struct.pack(">H", len(self.key)) + self.key
        if self.headers:
            flags |= 0x02
            block = b"".join(
                struct.pack(">B", len(name.encode())) + name.encode()
                + struct.pack(">H", len(value)) + value
                for name, value in self.headers
            )
            body += struct.pack(">H", len(block)) + block
        body += self.payload
        return bytes([flags]) + len(body).to_bytes(3, "big") + body


def read_record(reader: Reader) -> Event:
    head = reader.number("I")
    flags, body = head >> 24, Reader(reader.take(head & 0xFF_FFFF))
    if flags & ~0x03:
        raise Malformed("an unknown flag in a record")
    event = Event(b"")
    if flags & 0x01:
        event.key = body.take(body.number("H"))
        if len(event.key) > MAX_KEY:
            raise Malformed("a key that is too long", CODE_NUMBERS["EVENT_TOO_LARGE"])
    if flags & 0x02:
        block = Reader(body.take(body.number("H")))
        while block.remaining:
            name = block.text(block.number("B"))
            if not name:
                raise Malformed("a header without a name")
            event.headers.append((name, block.take(block.number("H"))))
    event.payload = body.take(body.remaining)
    return event


@dataclass
class Run:
    count: int
    records: bytes
    offset: int = 0
    time_us: int = 0
    attempt: int = 0

    def events(self, sequence: int) -> list[Event]:
        """The run's events; the records must fill it exactly."""
        reader, events = Reader(self.records), []
        for index in range(self.count):
            event = read_record(reader)
            event.sequence, event.offset = sequence + index, self.offset + index
            event.time_us, event.attempt = self.time_us, self.attempt
            events.append(event)
        if reader.remaining:
            raise Malformed("records that do not fill their run exactly")
        return events


# Frames: one dictionary of fields a frame, so that a transcript reads as one


@dataclass
class Frame:
    type: int
    link: int = 0
    flags: int = 0
    fields: dict = field(default_factory=dict)

    def __getattr__(self, name: str):
        try:
            return self.__dict__["fields"][name]
        except KeyError as error:
            raise AttributeError(name) from error

    def has(self, flag: int) -> bool:
        return bool(self.flags & flag)


def pack_frame(type: int, link: int, flags: int, body: bytes) -> bytes:
    return len(body).to_bytes(3, "big") + struct.pack(">BBI", type, flags, link) + body


def read_header(header: bytes) -> tuple[int, int, int, int]:
    """length, type, flags, link."""
    type, flags, link = struct.unpack(">BBI", header[3:HEADER_BYTES])
    return int.from_bytes(header[:3], "big"), type, flags, link


def small(data: bytes) -> bytes:
    """Bytes behind a length of one byte."""
    return struct.pack(">B", len(data)) + data


LAYOUTS = {
    PING: ("Q", ["opaque"]),
    OPENED: ("9Q", [
        "next_sequence", "head", "asked", "asked_bytes", "delivered_bytes", "forfeited",
        "forfeited_bytes", "stopped_to", "drained_to",
    ]),
    DEMAND: ("IQIQQ", ["n", "total", "bytes", "bytes_total", "received"]),
    STATUS: ("9QIIBI", [
        "asked", "delivered", "forfeited", "asked_bytes", "delivered_bytes", "forfeited_bytes",
        "stopped_to", "drained_to", "available", "unsettled", "oldest_ms", "blocked_by",
        "need_bytes",
    ]),
}
RESUME_FIELDS = [
    "position", "position_bytes", "asked", "asked_bytes", "stopped_to", "drained_to", "gaps",
]
GAP_FIELDS = ["next_sequence", "from", "to", "count", "reason"]


def encode(frame: Frame) -> bytes:
    f = frame.fields
    if frame.type in LAYOUTS:
        layout, names = LAYOUTS[frame.type]
        body = struct.pack(">" + layout, *(f.get(name, 0) for name in names))
        # The number of an ECHO came later: it is left out where there is none.
        if frame.type in (DEMAND, STATUS) and frame.has(DEMAND_ECHO) and f.get("echo"):
            body += struct.pack(">Q", f["echo"])
    elif frame.type == HELLO:
        body = struct.pack(
            ">IBBHII", f.get("magic", MAGIC), f.get("min", 1), f.get("max", 1),
            f.get("keepalive_s", 0), f.get("capabilities", 0), f.get("max_frame", MAX_FRAME),
        )
        body += small(f.get("session", b""))
        auth = f.get("auth", b"")
        body += struct.pack(">BH", f.get("auth_kind", 0), len(auth)) + auth
        body += small(f.get("name", "").encode())
    elif frame.type == WELCOME:
        body = struct.pack(
            ">BH7I", f.get("version", 1), f.get("keepalive_s", 10), f.get("capabilities", 0),
            f.get("max_frame", MAX_FRAME), f.get("max_event", 1_048_000),
            f.get("max_demand", 1_048_576), f.get("max_demand_bytes", 1_073_741_824),
            f.get("max_links", 10_000), f.get("resume_window_ms", 30_000),
        )
        body += small(f.get("session", b"")) + small(f.get("name", "").encode())
    elif frame.type == OPEN:
        body = struct.pack(">B", f["role"]) + small(f["topic"].encode())
        for tag, value in f.get("options", []):
            body += struct.pack(">BH", tag, len(value)) + value
    elif frame.type == EVENTS and frame.has(GAP):
        body = struct.pack(">4QB", *(f[name] for name in GAP_FIELDS))
    elif frame.type == EVENTS and frame.has(END | MARKER):
        body = struct.pack(">QQ", f["next_sequence"], f.get("offset", 0))
        if frame.has(MARKER):
            text = f["text"].encode()
            body += struct.pack(">H", len(text)) + text
    elif frame.type == EVENTS:
        body = struct.pack(">Q", f["first_sequence"])
        for run in f["runs"]:
            body += struct.pack(
                ">IIQQHH", run.count, len(run.records), run.offset, run.time_us, run.attempt, 0
            )
            body += run.records
    elif frame.type == SETTLE:
        body = b"".join(struct.pack(">QIBI", *entry) for entry in f["ranges"])
    elif frame.type == CLOSE:
        reason = f.get("reason", "").encode()
        body = struct.pack(">HIH", f.get("code", 0), f.get("retry_ms", 0), len(reason)) + reason
    else:
        raise ValueError(f"no layout for type {frame.type}")
    return pack_frame(frame.type, frame.link, frame.flags, body)


def options(
    group: str | None = None,
    start: tuple[str, int] | None = None,
    demand: tuple[int, int] | None = None,
    name: str | None = None,
    available: int | None = None,
    resume: dict | None = None,
    **more: object,
) -> list[tuple[int, bytes]]:
    """The options of an OPEN, as tag and value; `more` are those of groups and members."""
    chosen = []
    if group is not None:
        chosen.append((1, group.encode()))
    if "dispatcher" in more:
        chosen.append((2, struct.pack(">B", DISPATCHERS.index(more.pop("dispatcher")))))
    if start is not None:
        chosen.append((3, struct.pack(">BQ", START_KINDS[start[0]], start[1])))
    if demand is not None:
        chosen.append((4, struct.pack(">II", *demand)))
    if name is not None:
        chosen.append((5, name.encode()))
    if available is not None:
        chosen.append((6, struct.pack(">Q", available)))
    if resume is not None:
        # The last field came later: it is left out where it says nothing.
        names = RESUME_FIELDS if resume.get("gaps") else RESUME_FIELDS[:-1]
        chosen.append((7, struct.pack(f">{len(names)}Q", *(resume.get(key, 0) for key in names))))
    for name, value in more.items():
        chosen.append(_member_option(name, value))
    return sorted(chosen)


def _member_option(name: str, value: object) -> tuple[int, bytes]:
    """A number, or a tuple of them; `filter` is the bytes of a node, `lag` begins with a policy."""
    tag, layout = MEMBER_OPTIONS[name]
    if name == "filter":
        return tag, value
    if name == "lag":
        value = (LAG_POLICIES.index(value[0]), value[1])
    numbers = value if isinstance(value, (tuple, list)) else (value,)
    if name == "claim":
        layout *= len(numbers)
    return tag, struct.pack(">" + layout, *numbers)


def decode(type: int, flags: int, link: int, body: bytes) -> Frame | None:
    """The frame, or None for one of an unknown type that may be skipped."""
    if type not in KNOWN_FLAGS:
        if flags & IGNORABLE:
            return None
        raise Malformed(f"unknown frame type {type}")
    if flags & ~(KNOWN_FLAGS[type] | IGNORABLE):
        raise Malformed(f"unknown flag in {TYPE_NAMES[type]}")
    if (link == 0) != (type in (HELLO, WELCOME, PING)) and type != CLOSE:
        raise Malformed(f"{TYPE_NAMES[type]} on link {link}")
    reader, frame = Reader(body), Frame(type, link, flags & ~IGNORABLE)
    f = frame.fields
    if type in LAYOUTS:
        layout, names = LAYOUTS[type]
        f.update(zip(names, reader.numbers(layout)))
        if type in (DEMAND, STATUS) and frame.has(DEMAND_ECHO) and reader.remaining >= 8:
            f["echo"] = reader.number("Q")
    else:
        {
            HELLO: _hello, WELCOME: _welcome, OPEN: _open, EVENTS: _events, SETTLE: _settle,
            CLOSE: _close,
        }[type](reader, frame)
    return frame


def _hello(reader: Reader, frame: Frame) -> None:
    f = frame.fields
    names = ["magic", "min", "max", "keepalive_s", "capabilities", "max_frame"]
    f.update(zip(names, reader.numbers("IBBHII")))
    if f["magic"] != MAGIC or f["min"] > f["max"]:
        raise Malformed("not a Sluice HELLO")
    f["session"] = _session(reader)
    f["auth_kind"], auth_length = reader.numbers("BH")
    f["auth"] = reader.take(auth_length)
    f["name"] = reader.text(reader.number("B"))


def _welcome(reader: Reader, frame: Frame) -> None:
    f = frame.fields
    names = [
        "version", "keepalive_s", "capabilities", "max_frame", "max_event", "max_demand",
        "max_demand_bytes", "max_links", "resume_window_ms",
    ]
    f.update(zip(names, reader.numbers("BH7I")))
    f["session"] = _session(reader)
    f["name"] = reader.text(reader.number("B"))


def _session(reader: Reader) -> bytes:
    session = reader.take(reader.number("B"))
    if len(session) not in (0, 16):
        raise Malformed("a session token that is not 16 bytes")
    return session


def _open(reader: Reader, frame: Frame) -> None:
    f = frame.fields
    f["role"] = reader.number("B")
    if f["role"] not in (SINK, SOURCE):
        raise Malformed("an unknown role")
    f["topic"] = reader.text(reader.number("B"))
    f["options"] = []
    while reader.remaining:
        tag, length = reader.numbers("BH")
        f["options"].append((tag, reader.take(length)))


def _events(reader: Reader, frame: Frame) -> None:
    f = frame.fields
    if (frame.flags & (GAP | END | MARKER)).bit_count() > 1:
        raise Malformed("one of GAP, END and MARKER at a time")
    if frame.has(END | MARKER):
        f["next_sequence"], f["offset"] = reader.numbers("QQ")
        if frame.has(MARKER):
            f["text"] = reader.text(reader.number("H"))
            if not 1 <= len(f["text"].encode()) <= MAX_MARKER:
                raise Malformed("a marker without a text, or with too long a one")
        return
    if frame.has(GAP):
        f.update(zip(GAP_FIELDS, reader.numbers("4QB")))
        if f["from"] >= f["to"] or not 1 <= f["count"] <= f["to"] - f["from"]:
            raise Malformed("a gap of nothing")
        if f["reason"] not in GAP_REASONS:
            raise Malformed("an unknown reason for a gap")
        return
    f["first_sequence"], f["runs"] = reader.number("Q"), []
    while reader.remaining:
        count, length, offset, time_us, attempt, _ = reader.numbers("IIQQHH")
        if count == 0:
            raise Malformed("an empty run")
        f["runs"].append(Run(count, reader.take(length), offset, time_us, attempt))
    if not 1 <= len(f["runs"]) <= MAX_RUNS:
        raise Malformed("no run, or too many")


def _settle(reader: Reader, frame: Frame) -> None:
    ranges = []
    while reader.remaining:
        ranges.append(reader.numbers("QIBI"))
        if ranges[-1][1] == 0 or ranges[-1][2] not in OUTCOMES:
            raise Malformed("an empty range or an unknown outcome")
    if not 1 <= len(ranges) <= MAX_SETTLE_RANGES:
        raise Malformed("no range, or too many")
    frame.fields["ranges"] = ranges


def _close(reader: Reader, frame: Frame) -> None:
    f = frame.fields
    f["code"], f["retry_ms"], length = reader.numbers("HIH")
    f["reason"] = reader.text(length)
    if frame.link and frame.has(GRACEFUL):
        raise Malformed("GRACEFUL on a link")
