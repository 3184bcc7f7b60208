"""Reads the lines of ../conversations: text to frames, and both ends' accounts beside them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import frames
from frames import Event, Frame, Run
from ledger import Ledger, Refused

TYPES = {name: number for number, name in frames.TYPE_NAMES.items()}
FLAGS = {
    "RESUMED": frames.RESUMED, "PONG": frames.PONG, "DRAIN": frames.DRAIN, "STOP": frames.STOP,
    "GAP": frames.GAP, "END": frames.END, "MARKER": frames.MARKER, "DRAINED": frames.DRAINED,
    "GRACEFUL": frames.GRACEFUL, "ECHO": frames.DEMAND_ECHO, "IGNORABLE": frames.IGNORABLE,
}
RENAMED = {
    "next": "next_sequence", "seq": "first_sequence", "keepalive": "keepalive_s",
    "retry": "retry_ms",
}
ANY = "*"
LINE = re.compile(r"(C|S|C!|C~|S~|X): (.+)|([CS])\. close|-- cut|#.*|")


@dataclass
class Line:
    """Who sends what: `who` is C or S, `mark` is !, ~, X or nothing."""

    who: str
    mark: str
    frame: Frame | None
    raw: bytes = b""
    # The fields that the line names; the others are not compared.
    named: set[str] = field(default_factory=set)
    event: str = ""


def parse(path: Path) -> list[Line]:
    lines = []
    for number, text in enumerate(path.read_text().splitlines(), 1):
        match = LINE.fullmatch(text)
        if match is None:
            raise ValueError(f"{path.name}:{number}: not a line of a conversation: {text}")
        head, body, closer = match.groups()
        if closer:
            lines.append(Line(closer, "", None, event="close"))
        elif text == "-- cut":
            lines.append(Line("", "", None, event="cut"))
        elif head == "X":
            lines.append(Line("C", "X", None, bytes.fromhex(body)))
        elif head:
            try:
                lines.append(parse_frame(head[0], head[1:], body))
            except (KeyError, ValueError, IndexError) as error:
                raise ValueError(f"{path.name}:{number}: {text}: {error!r}") from error
    return lines


def parse_frame(who: str, mark: str, text: str) -> Line:
    # Brackets hold together.
    words = re.findall(r"(?:\[[^\]]*\]|[^\s\[])+", text)
    name = words.pop(0)
    if name == "FRAME":
        return Line(who, mark, None, raw_frame(words))
    frame = Frame(TYPES[name])
    if frame.type in (frames.PING,):
        frame.fields["opaque"] = int(words.pop(0))
    elif frame.type not in (frames.HELLO, frames.WELCOME):
        frame.link = int(words.pop(0))
    line = Line(who, mark, frame)
    if frame.type == frames.EVENTS and not {"GAP", "END", "MARKER"} & set(words):
        parse_runs(line, text)
        return line
    while words:
        parse_word(line, words)
    return line


def parse_word(line: Line, words: list[str]) -> None:
    word, frame = words.pop(0), line.frame
    fields = frame.fields
    if word in FLAGS:
        frame.flags |= FLAGS[word]
    elif frame.type == frames.OPEN and word in ("sink", "source"):
        fields["role"] = frames.SINK if word == "sink" else frames.SOURCE
        fields["chosen"], fields["extra"] = {}, []
    elif frame.type == frames.OPEN and word == "resume":
        fields["chosen"]["resume"] = {}
    elif frame.type == frames.CLOSE and word in frames.CODE_NUMBERS:
        fields["code"] = frames.CODE_NUMBERS[word]
        line.named.add("code")
    elif frame.type == frames.SETTLE:
        first, last = (int(part) for part in words.pop(0).split(".."))
        outcome = {"accept": 0, "reject": 3}[word]
        argument = frames.CODE_NUMBERS[words.pop(0)] if outcome == 3 else 0
        fields.setdefault("ranges", []).append((first, last - first + 1, outcome, argument))
    else:
        name, value = word.split("=", 1)
        parse_field(line, RENAMED.get(name, name), value)


def parse_field(line: Line, name: str, value: str) -> None:
    frame, fields = line.frame, line.frame.fields
    if frame.type == frames.OPEN and name != "topic":
        parse_option(fields, name, value)
    elif name == "versions":
        fields["min"], fields["max"] = (int(part) for part in value.split(".."))
    elif name == "session":
        fields[name] = value
    elif frame.type == frames.EVENTS and name == "reason":
        fields[name] = {word: number for number, word in frames.GAP_REASONS.items()}[value]
    elif name == "blocked_by":
        fields[name] = frames.BLOCKED_BY.index(value)
        line.named.add(name)
    elif value == ANY or name in ("topic", "name", "reason", "text"):
        fields[name] = value
    else:
        fields[name] = int(value)
        line.named.add(name)


def parse_option(fields: dict, name: str, value: str) -> None:
    chosen = fields["chosen"]
    if "resume" in chosen and name in frames.RESUME_FIELDS:
        chosen["resume"][name] = ANY if value == ANY else int(value)
    elif name == "demand":
        chosen["demand"] = (int(value), 0)
    elif name == "bytes":
        chosen["demand"] = (chosen.get("demand", (0, 0))[0], int(value))
    elif name == "start":
        kind, _, number = value.partition(":")
        chosen["start"] = (kind, int(number or 0))
    elif name == "option":
        tag, _, data = value.partition(":")
        fields["extra"].append((int(tag, 16), bytes.fromhex(data)))
    elif name in ("group", "name"):
        chosen[name] = value
    elif name in ("available", "weight", "priority", "partitions", "sample", "patience"):
        chosen[name] = int(value)
    elif name == "dispatcher":
        chosen[name] = frames.DISPATCHERS[frames.DISPATCHERS.index(value)]
    elif name == "lag":
        policy, _, events = value.partition(":")
        chosen[name] = (policy, int(events or 0))
    elif name == "claim":
        chosen[name] = tuple(int(claim) for claim in value.split(","))
    elif name in ("batch", "rate"):
        first, _, second = value.removesuffix("ms").partition(":")
        chosen[name] = (int(first), int(second))
    elif name == "ephemeral":
        chosen[name] = {"no": 0, "yes": 1}[value]
    elif name == "filter":
        # The text is for people; this client writes filters by `values`.
        chosen[name] = value
    else:
        raise KeyError(name)


def parse_runs(line: Line, text: str) -> None:
    fields = line.frame.fields
    fields["first_sequence"] = int(re.search(r"seq=(\d+)", text).group(1))
    fields["runs"] = []
    for offset, payloads in re.findall(r"(?:offset=(\d+) )?\[((?:[^\[\]])*)\]", text):
        events = [Event(word.encode()) for word in payloads.split()]
        records = b"".join(event.record() for event in events)
        fields["runs"].append(Run(len(events), records, int(offset or 0)))
    if not fields["runs"]:
        raise ValueError("EVENTS without a run")


def raw_frame(words: list[str]) -> bytes:
    head = dict(word.split("=") for word in words[:3])
    body = bytes.fromhex("".join(words[3:]))
    return frames.pack_frame(int(head["type"]), int(head["link"]), int(head["flags"], 16), body)


class Accounts:
    """Both ends of every link of a conversation, and whether they balance line by line."""

    def __init__(self):
        self.client: dict[int, Ledger] = {}
        self.broker: dict[int, Ledger] = {}
        self.roles: dict[int, int] = {}
        # Gaps that the client of each link has had.
        self.gaps: dict[int, int] = {}

    def ends(self, link: int) -> tuple[Ledger, Ledger]:
        """Source and sink."""
        client, broker = self.client[link], self.broker[link]
        return (broker, client) if self.roles[link] == frames.SINK else (client, broker)

    def book(self, line: Line) -> None:
        """Books a legal line; raises Refused for one that the receiver must refuse."""
        frame = line.frame
        if frame is None or frame.type in (
            frames.HELLO, frames.WELCOME, frames.PING, frames.CLOSE, frames.SETTLE,
        ):
            return
        {
            frames.OPEN: self._open, frames.OPENED: self._opened, frames.DEMAND: self._demand,
            frames.EVENTS: self._events, frames.STATUS: self._status,
        }[frame.type](line, frame)
        for account in (self.client[frame.link], self.broker[frame.link]):
            account.check()

    def cut(self) -> None:
        """The broker voids its grants when the connection breaks."""
        for link, role in self.roles.items():
            if role == frames.SOURCE:
                broker = self.broker[link]
                broker.stopped_to = broker.asked
                broker.forfeit()

    def _open(self, line: Line, frame: Frame) -> None:
        link, chosen = frame.link, frame.fields["chosen"]
        if "resume" in chosen:
            self._resume(link, chosen["resume"])
            return
        self.client[link], self.broker[link] = Ledger(), Ledger()
        self.gaps[link] = 0
        self.roles[link] = frame.role
        if "demand" in chosen:
            demand = self.client[link].ask(link, *chosen["demand"])
            self.broker[link].apply(demand, 1_048_576, 1_073_741_824)

    def _resume(self, link: int, resume: dict) -> None:
        client, broker = self.client[link], self.broker[link]
        for name, value in resume.items():
            names = {"position": "delivered", "position_bytes": "delivered_bytes"}
            own = self.gaps[link] if name == "gaps" else getattr(client, names.get(name, name))
            if value not in (own, ANY):
                raise Refused("CREDIT_MISMATCH", f"{name} {value}, the client has {own}")
        if self.roles[link] == frames.SOURCE:
            return
        broker.asked, broker.asked_bytes = client.asked, client.asked_bytes
        broker.forfeited += broker.delivered - client.delivered
        broker.delivered = client.delivered
        broker.delivered_bytes = client.delivered_bytes
        if client.stopped_to > broker.stopped_to:
            broker.stopped_to = client.stopped_to
            broker.forfeit()
        broker.drained_to = max(broker.drained_to, client.drained_to)

    def _opened(self, line: Line, frame: Frame) -> None:
        broker = self.broker[frame.link]
        self._compare(line, broker)
        if line.frame.next_sequence != broker.delivered + 1:
            raise AssertionError(f"next={frame.next_sequence}, the broker is at {broker}")
        if frame.has(frames.RESUMED):
            full = {**vars(broker), "next_sequence": broker.delivered + 1}
            self.client[frame.link].resume(Frame(frames.OPENED, frame.link, 0, full))

    def _demand(self, line: Line, frame: Frame) -> None:
        source, sink = self.ends(frame.link)
        fields = {"n": 0, "total": 0, "bytes": 0, "bytes_total": 0, "received": 0, **frame.fields}
        if fields["n"] == ANY:
            fields["n"], fields["total"] = 4, sink.asked + 4
        if fields["bytes"] == ANY:
            fields["bytes"] = 65_536
            fields["bytes_total"] = sink.asked_bytes + 65_536
        demand = Frame(frames.DEMAND, frame.link, frame.flags, fields)
        fields = {name: value for name, value in fields.items() if name != "echo"}
        if line.mark == "!":
            source.apply(demand, 1_048_576, 1_073_741_824)
            return
        booked = sink.ask(frame.link, fields["n"], fields["bytes"], frame.flags)
        if booked.fields != fields:
            raise AssertionError(f"{fields}, but the sink's account says {booked.fields}")
        if line.mark != "~":
            source.apply(demand, 1_048_576, 1_073_741_824)

    def _events(self, line: Line, frame: Frame) -> None:
        source, sink = self.ends(frame.link)
        if frame.has(frames.GAP | frames.END | frames.MARKER):
            if frame.next_sequence != sink.delivered + 1:
                raise AssertionError("a gap or a mark at another place")
            if frame.has(frames.GAP) and line.mark != "~":
                self.gaps[frame.link] += 1
            return
        count = sum(run.count for run in frame.runs)
        size = sum(len(run.records) for run in frame.runs)
        if line.mark == "!":
            sink.receive(frame.first_sequence, count, size)
            return
        if frame.first_sequence != source.delivered + 1:
            raise AssertionError(f"seq={frame.first_sequence} after {source.delivered}")
        source.deliver(count, size)
        if line.mark != "~":
            sink.receive(frame.first_sequence, count, size)

    def _status(self, line: Line, frame: Frame) -> None:
        source, sink = self.ends(frame.link)
        if frame.has(frames.DRAINED):
            source.forfeit()
        self._compare(line, source)
        sink.book(Frame(frames.STATUS, frame.link, 0, vars(source).copy()))

    @staticmethod
    def _compare(line: Line, account: Ledger) -> None:
        for name in line.named & vars(account).keys():
            if line.frame.fields[name] != getattr(account, name):
                raise AssertionError(f"{name}={line.frame.fields[name]}, expected {account}")
