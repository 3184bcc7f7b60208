"""The lines of ../conversations and the frames that they stand for; see ../conversations/README.md.

Written from ../protocol.md alone and with nothing but the standard library, so that it can judge
any client and any broker, ours too. A frame is a `Said`: its type, link, flags, and fields as text.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field

HEADER = 9
TYPES = "HELLO WELCOME PING OPEN OPENED DEMAND EVENTS SETTLE STATUS CLOSE".split()
ON_CONNECTION = {"HELLO", "WELCOME", "PING"}
FLAGS = {
    "WELCOME": {"RESUMED": 1}, "OPENED": {"RESUMED": 1}, "PING": {"PONG": 1},
    "DEMAND": {"DRAIN": 1, "STOP": 2, "ECHO": 4}, "EVENTS": {"GAP": 1, "END": 2, "MARKER": 4},
    "STATUS": {"DRAINED": 1, "ECHO": 4}, "CLOSE": {"GRACEFUL": 1},
}
# A body as the letters of `struct` and the names of its fields; s8 and s16 are texts behind a
# length, and what begins with ? came later: it is left out where it is 0.
LAYOUTS = {
    "HELLO": "I:magic B:min B:max H:keepalive I:capabilities I:max_frame x8:session B:auth_kind "
             "x16:auth s8:name",
    "WELCOME": "B:version H:keepalive I:capabilities I:max_frame I:max_event I:max_demand "
               "I:max_demand_bytes I:max_links I:resume_window_ms x8:session s8:name",
    "PING": "Q:opaque",
    "OPENED": "Q:next Q:head Q:asked Q:asked_bytes Q:delivered_bytes Q:forfeited Q:forfeited_bytes "
              "Q:stopped_to Q:drained_to",
    "DEMAND": "I:n Q:total I:bytes Q:bytes_total Q:received ?Q:echo",
    "STATUS": "Q:asked Q:delivered Q:forfeited Q:asked_bytes Q:delivered_bytes Q:forfeited_bytes "
              "Q:stopped_to Q:drained_to Q:available I:unsettled I:oldest_ms B:blocked_by "
              "I:need_bytes ?Q:echo",
    "CLOSE": "H:code I:retry s16:reason",
    "GAP": "Q:next Q:from Q:to Q:count B:reason",
    "END": "Q:next Q:offset",
    "MARKER": "Q:next Q:offset s16:text",
    "resume": "Q:position Q:position_bytes Q:asked Q:asked_bytes Q:stopped_to Q:drained_to Q:gaps",
}
# What is not 0 if a line leaves it out.
DEFAULTS = {"magic": "1397506885", "max_frame": "1048576", "version": "1", "max_event": "1048000",
            "max_demand": "1048576", "max_demand_bytes": "1073741824", "max_links": "10000",
            "resume_window_ms": "30000"}
CODES = {
    0: "NORMAL", 1: "CANCELLED", 2: "COMPLETE", 3: "GOING_AWAY", 4: "REPLACED", 5: "TOPIC_DELETED",
    6: "GROUP_REMOVED", 7: "LAGGED", 8: "IDLE", 16: "PROTOCOL", 17: "VERSION",
    18: "FRAME_TOO_LARGE", 19: "CREDIT_OVERRUN", 20: "CREDIT_MISMATCH", 21: "BAD_LINK",
    22: "BAD_OPTION", 23: "BAD_DEMAND", 24: "EVENT_TOO_LARGE", 25: "RECALL_TIMEOUT",
    32: "AUTH_FAILED", 33: "FORBIDDEN", 34: "NOT_FOUND", 35: "LIMIT", 36: "BUSY", 38: "EXISTS",
    39: "DISCARDED", 40: "KICKED", 48: "INTERNAL",
}
WORDS = {
    "code": CODES,
    "reason": {1: "cut", 2: "dropped", 3: "purged", 4: "lagged"},
    "blocked_by": dict(enumerate(
        "nothing no_demand no_events bytes unsettled paused filter window buffer rate batch "
        "standby others partition".split())),
    "dispatcher": dict(enumerate("demand broadcast partition exclusive independent fair".split())),
    "lag": dict(enumerate("block drop-oldest drop-newest detach".split())),
    "start": dict(enumerate("new first offset time".split())),
    "outcome": dict(enumerate("accept release retry reject extend".split())),
    "ephemeral": {0: "no", 1: "yes"},
}
# Options of OPEN: tag, and how the value is written in a line.
OPTIONS = {
    1: ("group", "s"), 2: ("dispatcher", "B"), 3: ("start", "BQ"), 4: ("demand", "II"),
    5: ("name", "s"), 6: ("available", "Q"), 7: ("resume", ""), 8: ("weight", "H"),
    9: ("priority", "B"), 10: ("lag", "BI"), 11: ("partitions", "H"), 12: ("claim", "H*"),
    13: ("filter", "x"), 14: ("sample", "I"), 15: ("batch", "II"), 16: ("rate", "II"),
    17: ("ephemeral", "B"), 18: ("patience", "I"),
}
TAGS = {name: tag for tag, (name, _) in OPTIONS.items()}


@dataclass
class Said:
    type: str
    link: int = 0
    flags: set[str] = field(default_factory=set)
    fields: dict[str, str] = field(default_factory=dict)
    # (sequence, offset or None, payload) and (sequence, outcome): how frames are cut is free.
    events: list[tuple] = field(default_factory=list)
    verdicts: list[tuple] = field(default_factory=list)
    raw: bytes | None = None

    @property
    def lane(self) -> str:
        """Frames of one lane come in the order written; demand and settlements overtake others."""
        return f"{self.link} {self.type}" if self.type in ("DEMAND", "SETTLE") else f"{self.link}"

    def atoms(self) -> list[tuple]:
        kind = [("event", *event) for event in self.events]
        kind += [("verdict", *verdict) for verdict in self.verdicts]
        return kind or [("frame", self)]

    def __str__(self) -> str:
        words = [self.type] + ([] if self.type in ON_CONNECTION else [str(self.link)])
        words += sorted(self.flags) + [f"{name}={value}" for name, value in self.fields.items()]
        words += [f"{number}@{offset}={payload}" for number, offset, payload in self.events]
        return " ".join(words + [f"{outcome} {number}" for number, outcome in self.verdicts])


def matches(wanted: tuple, said: tuple) -> bool:
    """Whether what was said is what a line wants; `*` and what it leaves out is free."""
    if wanted[0] != said[0]:
        return False
    if wanted[0] != "frame":
        return all(want in (None, "*", got) for want, got in zip(wanted[1:], said[1:]))
    want, got = wanted[1], said[1]
    return (want.type, want.link, want.flags) == (got.type, got.link, got.flags) and all(
        value == "*" or got.fields.get(name, "0") == value for name, value in want.fields.items())


# Lines


@dataclass
class Line:
    number: int
    who: str  # C or S; empty for a cut
    mark: str  # !, ~ or X
    said: Said | None  # None: that side closes the connection, or it is cut
    text: str


def parse(text: str) -> list[Line]:
    lines = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        if line in ("-- cut", "C. close", "S. close"):
            lines.append(Line(number, line[0].strip("-"), "", None, line))
            continue
        head, body = line.split(": ", 1)
        if head == "X":
            raw = Said("BYTES", raw=bytes.fromhex(body))
            lines.append(Line(number, "C", "X", raw, line))
        elif re.fullmatch("[CS][!~]?", head):
            lines.append(Line(number, head[0], head[1:], parse_frame(body), line))
        else:
            raise ValueError(f"line {number} is none of a conversation: {line}")
    return lines


def parse_frame(text: str) -> Said:
    words = re.findall(r"(?:\[[^\]]*\]|[^\s\[])+", text)
    said = Said(words.pop(0))
    if said.type == "FRAME":
        head = dict(word.split("=") for word in words[:3])
        body = bytes.fromhex("".join(words[3:]))
        said.raw = pack(int(head["type"]), int(head["flags"], 0), int(head["link"]), body)
        return said
    if said.type == "PING":
        said.fields["opaque"] = words.pop(0)
    elif said.type not in ON_CONNECTION:
        said.link = int(words.pop(0))
    if said.type == "CLOSE":
        said.fields["code"] = words.pop(0)
    offset = None
    while words:
        word = words.pop(0)
        if said.type == "SETTLE":
            first, last = map(int, words.pop(0).split(".."))
            outcome = f"{word} {words.pop(0)}" if word == "reject" else word
            said.verdicts += [(number, outcome) for number in range(first, last + 1)]
        elif word.startswith("["):
            for index, payload in enumerate(word[1:-1].split(" ") if word != "[]" else []):
                at = None if offset is None else str(int(offset) + index)
                sequence = str(int(said.fields["seq"]) + len(said.events))
                said.events.append((sequence, at, payload))
            offset = None
        elif word in FLAGS.get(said.type, {}) or word in ("sink", "source", "resume", "IGNORABLE"):
            said.flags.add(word)
        else:
            name, value = word.split("=", 1)
            if said.type == "EVENTS" and name == "offset" and not said.flags:
                offset = value
            elif name == "option":
                said.fields[f"option {len(said.fields)}"] = value
            else:
                said.fields[name] = value
    if said.events:
        said.fields.pop("seq")
    return said


# Frames as bytes


def pack(kind: int, flags: int, link: int, body: bytes) -> bytes:
    return len(body).to_bytes(3, "big") + struct.pack(">BBI", kind, flags, link) + body


def encode(said: Said) -> bytes:
    """The bytes of a frame; what it leaves out is 0."""
    if said.raw is not None:
        return said.raw
    flags = FLAGS.get(said.type, {})
    bits = sum(flags.get(flag, 0) for flag in said.flags)
    bits |= 0x80 if "IGNORABLE" in said.flags else 0
    if said.type == "OPEN":
        body = encode_open(said)
    elif said.type == "EVENTS" and said.events:
        records = b"".join(record(payload) for _, _, payload in said.events)
        sequence, offset, _ = said.events[0]
        body = struct.pack(">QIIQQHH", int(sequence), len(said.events), len(records),
                           int(offset or 0), 0, 1 if offset else 0, 0) + records
    elif said.type == "SETTLE":
        body = b"".join(encode_verdict(*verdict) for verdict in said.verdicts)
    else:
        fields = dict(said.fields)
        if "versions" in fields:
            fields["min"], fields["max"] = fields.pop("versions").split("..")
        body = encode_fields(layout_of(said), fields)
    return pack(TYPES.index(said.type) + 1, bits, said.link, body)


def layout_of(said: Said) -> str:
    marks = said.flags & {"GAP", "END", "MARKER"} if said.type == "EVENTS" else set()
    return LAYOUTS[marks.pop() if marks else said.type]


def record(payload: str) -> bytes:
    body = payload.encode()
    return b"\0" + len(body).to_bytes(3, "big") + body


def number_of(name: str, value: str) -> int:
    known = {word: number for number, word in WORDS.get(name, {}).items()}
    return known[value] if value in known else int(value, 0)


def encode_fields(layout: str, fields: dict[str, str]) -> bytes:
    body = b""
    for letter, name in (part.split(":") for part in layout.split()):
        value = fields.get(name, DEFAULTS.get(name, "0"))
        if letter[0] == "?" and value == "0":
            continue
        if letter[0] in "sx":
            value = "" if name not in fields or value == "*" else value
            data = value.encode() if letter[0] == "s" else bytes.fromhex(value)
            body += struct.pack(">B" if letter[1:] == "8" else ">H", len(data)) + data
        else:
            number = 0 if value == "*" else number_of(name, value)
            body += struct.pack(">" + letter.strip("?"), number)
    return body


def encode_verdict(sequence: int, outcome: str) -> bytes:
    word, _, code = outcome.partition(" ")
    argument = number_of("code", code) if code else 0
    return struct.pack(">QIBI", sequence, 1, number_of("outcome", word), argument)


def encode_open(said: Said) -> bytes:
    topic = said.fields["topic"].encode()
    body = struct.pack(">BB", 0 if "sink" in said.flags else 1, len(topic)) + topic
    fields = dict(said.fields)
    if "demand" in fields or "bytes" in fields:
        fields["demand"] = f"{fields.get('demand', 0)}:{fields.pop('bytes', 0)}"
    if "resume" in said.flags:
        fields["resume"] = ""
    for name, tag in sorted(TAGS.items(), key=lambda item: item[1]):
        if name in fields:
            value = encode_option(name, OPTIONS[tag][1], fields)
            body += struct.pack(">BH", tag, len(value)) + value
    for name in fields:
        if name.startswith("option "):
            tag, _, data = fields[name].partition(":")
            body += struct.pack(">BH", int(tag, 16), len(data) // 2) + bytes.fromhex(data)
    return body


def encode_option(name: str, letters: str, fields: dict[str, str]) -> bytes:
    text = fields[name]
    if name == "resume":
        return encode_fields(LAYOUTS["resume"], {"gaps": "0", **fields})
    if letters == "s":
        return text.encode()
    if letters == "x":
        raise ValueError("filters are written as option=0d:HEX here")
    parts = text.removesuffix("ms").split("," if letters == "H*" else ":")
    if letters == "H*":
        letters = "H" * len(parts)
    parts += ["0"] * (len(letters) - len(parts))
    return struct.pack(">" + letters, *(number_of(name, part) for part in parts))


class Cursor:
    def __init__(self, data: bytes):
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        if self.at + count > len(self.data):
            raise ValueError("a body that is too short for its fields")
        self.at += count
        return self.data[self.at - count : self.at]

    def numbers(self, letters: str) -> tuple:
        return struct.unpack(">" + letters, self.take(struct.calcsize(">" + letters)))

    @property
    def at_end(self) -> bool:
        return self.at >= len(self.data)


def decode(kind: int, bits: int, link: int, body: bytes) -> Said:
    """The frame that the bytes say; ValueError if they break the protocol."""
    if not 1 <= kind <= len(TYPES):
        return Said("FRAME", link, raw=pack(kind, bits, link, body))
    said = Said(TYPES[kind - 1], link)
    said.flags = {name for name, bit in FLAGS.get(said.type, {}).items() if bits & bit}
    cursor = Cursor(body)
    if said.type == "OPEN":
        decode_open(said, cursor)
    elif said.type == "EVENTS" and not said.flags:
        decode_runs(said, cursor)
    elif said.type == "SETTLE":
        while not cursor.at_end:
            first, count, outcome, argument = cursor.numbers("QIBI")
            word = WORDS["outcome"][outcome]
            word += f" {CODES.get(argument, argument)}" if word == "reject" else ""
            said.verdicts += [(first + index, word) for index in range(count)]
    else:
        said.fields = decode_fields(layout_of(said), cursor)
        if said.type == "HELLO":
            said.fields["versions"] = f"{said.fields['min']}..{said.fields['max']}"
    return said


def decode_fields(layout: str, cursor: Cursor) -> dict[str, str]:
    fields = {}
    for letter, name in (part.split(":") for part in layout.split()):
        if letter[0] in "sx":
            data = cursor.take(cursor.numbers("B" if letter[1:] == "8" else "H")[0])
            fields[name] = data.decode() if letter[0] == "s" else data.hex()
        else:
            is_left_out = letter[0] == "?" and cursor.at_end
            value = 0 if is_left_out else cursor.numbers(letter.strip("?"))[0]
            # The reason of a GAP is a number, that of a CLOSE a text.
            fields[name] = str(WORDS.get(name, {}).get(value, value))
    return fields


def decode_runs(said: Said, cursor: Cursor) -> None:
    sequence = cursor.numbers("Q")[0]
    while not cursor.at_end:
        count, length, offset, _, _, _ = cursor.numbers("IIQQHH")
        records = Cursor(cursor.take(length))
        for index in range(count):
            head = records.numbers("I")[0]
            body = Cursor(records.take(head & 0xFFFFFF))
            for bit in (1, 2):
                if head >> 24 & bit:
                    body.take(body.numbers("H")[0])
            payload = body.data[body.at :].decode(errors="replace")
            said.events.append((str(sequence), str(offset + index), payload))
            sequence += 1
        if not records.at_end:
            raise ValueError("records that do not fill their run")


def decode_open(said: Said, cursor: Cursor) -> None:
    role, length = cursor.numbers("BB")
    said.flags.add("source" if role else "sink")
    said.fields["topic"] = cursor.take(length).decode()
    while not cursor.at_end:
        tag, size = cursor.numbers("BH")
        value = Cursor(cursor.take(size))
        name, letters = OPTIONS.get(tag & 0x7F, ("", "x"))
        if name == "resume":
            said.flags.add("resume")
            value.data += b"\0" * (56 - size)
            said.fields.update(decode_fields(LAYOUTS["resume"], value))
        elif letters in ("s", "x"):
            said.fields[name or f"option {tag:02x}"] = (
                value.data.decode() if letters == "s" else value.data.hex())
        elif name == "demand":
            said.fields["demand"], said.fields["bytes"] = map(str, value.numbers("II"))
        else:
            said.fields[name] = option_text(name, letters, value)


def option_text(name: str, letters: str, value: Cursor) -> str:
    if letters == "H*":
        return ",".join(map(str, value.numbers("H" * (len(value.data) // 2))))
    first, *rest = value.numbers(letters)
    text = str(WORDS.get(name, {}).get(first, first))
    if rest and (rest[0] or name in ("batch", "rate")):
        text += f":{rest[0]}" + ("ms" if name == "batch" else "")
    return text
