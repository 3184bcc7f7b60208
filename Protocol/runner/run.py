"""Plays the conversations of the protocol to a broker, or to a client.

    run.py --broker HOST:PORT [FILE …]     to a broker that runs and that nobody else uses
    run.py --start 'COMMAND {port}' [FILE …]   to a new broker for each conversation
    run.py --client 'COMMAND {port}' [FILE …]  to a client: it is told its lines on its input

Without a FILE it plays all of ../conversations. README.md here says more. One line a conversation
and the number of those that failed as the end; it needs nothing but the standard library.
"""

from __future__ import annotations

import argparse
import json
import select
import shlex
import socket
import subprocess
import sys
import time
from pathlib import Path

import grammar
from grammar import HEADER, Line, Said

NEEDS_NEW = "# Needs a new broker."
CONVERSATIONS = Path(__file__).resolve().parent.parent / "conversations"


class Failed(Exception):
    """The peer did not say what the conversation says."""


class Wire:
    """A connection that takes and gives frames."""

    def __init__(self, connection: socket.socket, patience: float):
        self.socket, self.patience = connection, patience
        self.unread = b""
        self.ended = False
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, said: Said) -> None:
        try:
            self.socket.sendall(grammar.encode(said))
        except OSError as error:
            raise Failed(f"nothing can be sent: {error}") from error

    def frame(self, wait: float) -> Said | None:
        """The next frame; None if none comes in time, or no more at all."""
        deadline = time.monotonic() + wait
        while not self.ended:
            if len(self.unread) >= HEADER:
                end = HEADER + int.from_bytes(self.unread[:3], "big")
                if len(self.unread) >= end:
                    frame, self.unread = self.unread[:end], self.unread[end:]
                    kind, bits, link = frame[3], frame[4], int.from_bytes(frame[5:9], "big")
                    return grammar.decode(kind, bits, link, frame[HEADER:])
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.socket], [], [], left)[0]:
                return None
            try:
                data = self.socket.recv(1 << 16)
            except ConnectionError:
                data = b""
            self.ended = not data
            self.unread += data
        return None

    def close(self) -> None:
        self.socket.close()


class BrokerPlay:
    """Says a conversation's lines of the client to a broker, and compares what it answers."""

    def __init__(self, address: tuple[str, int], patience: float, quiet: float):
        self.address, self.patience, self.quiet = address, patience, quiet
        self.wire = self.connect()
        # Values that `*` and `last` stand for in lines of the client.
        self.bound: dict[str, str] = {}

    def connect(self) -> Wire:
        return Wire(socket.create_connection(self.address, self.patience), self.patience)

    def play(self, lines: list[Line]) -> None:
        wanted: list[Said] = []
        for line in lines:
            try:
                if line.who == "S" and line.said is not None:
                    wanted.append(line.said)
                    continue
                self.compare(wanted)
                wanted = []
                self.step(line)
            except (Failed, ValueError) as error:
                at = f"before or at line {line.number}, {line.text[:60]}"
                raise Failed(f"{at}: {error}") from None
        self.compare(wanted)

    def step(self, line: Line) -> None:
        if line.who == "S":
            if self.wire.frame(self.patience) is not None or not self.wire.ended:
                raise Failed("the broker does not close the connection")
        elif line.said is None:
            self.wire.close()
            self.wire = self.connect()
        elif line.mark != "~":
            self.wire.send(self.bind(line.said))

    def bind(self, said: Said) -> Said:
        fields = dict(said.fields)
        for name, value in fields.items():
            if name == "session" and value == "last":
                fields[name] = self.bound["0 session"]
            elif value == "*":
                fields[name] = self.bound.get(f"{said.link} {name}", "0")
        return Said(said.type, said.link, said.flags, fields, said.events, said.verdicts, said.raw)

    def compare(self, wanted: list[Said]) -> None:
        """Everything that is wanted has to come, lane by lane, and nothing else."""
        left: dict[str, list[tuple]] = {}
        for said in wanted:
            left.setdefault(said.lane, []).extend(said.atoms())
        # A PING is answered at once, unless the conversation tells of it and of its answer.
        tells_of_ping = any(s.type == "PING" and "PONG" not in s.flags for s in wanted)
        while True:
            waits = any(left.values())
            said = self.wire.frame(self.patience if waits else self.quiet)
            if said is None:
                break
            if said.type == "PING" and "PONG" not in said.flags and not tells_of_ping:
                self.wire.send(Said("PING", 0, {"PONG"}, said.fields))
                continue
            self.note(said)
            lane = left.get(said.lane, [])
            for atom in said.atoms():
                if not lane or not grammar.matches(lane[0], atom):
                    want = text_of(lane[0]) if lane else "nothing more on this link"
                    raise Failed(f"said {text_of(atom)}, wanted {want}")
                lane.pop(0)
        missing = [text_of(atom) for lane in left.values() for atom in lane]
        if missing:
            raise Failed("did not say " + "; ".join(missing))

    def note(self, said: Said) -> None:
        for name, value in said.fields.items():
            self.bound[f"{said.link} {name}"] = value
        if said.type == "DEMAND":
            self.bound[f"{said.link} asked_bytes"] = said.fields["bytes_total"]


def text_of(atom: tuple) -> str:
    return str(atom[1]) if atom[0] == "frame" else " ".join(map(str, atom))


def topics_of(lines: list[Line]) -> list[str]:
    """The topics that a conversation may have made."""
    names = []
    for line in lines:
        said = line.said
        if line.who != "C" or said is None:
            continue
        names += [said.fields["topic"]] if "topic" in said.fields else []
        for _, _, payload in said.events:
            if payload.startswith("{") and payload.endswith("}"):
                names.append(json.loads(payload).get("topic", ""))
    return sorted({name for name in names if name and not name.startswith("$")})


def clean(address: tuple[str, int], lines: list[Line], patience: float) -> None:
    """Removes the topics of a conversation, so that the next one finds a broker without any."""
    topics = topics_of(lines)
    if not topics:
        return
    requests = [json.dumps({"op": "remove-topic", "topic": topic}) for topic in topics]
    wire = Wire(socket.create_connection(address, patience), patience)
    hello = Said("HELLO", fields={"versions": "1..1", "name": "runner"})
    available = {"topic": "$sys/ctl", "available": str(len(requests))}
    wire.send(hello)
    wire.send(Said("OPEN", 1, {"source"}, available))
    credit, settled, sent = 0, 0, 0
    while settled < len(requests):
        said = wire.frame(patience)
        if said is None:
            raise Failed("the topics of the conversation cannot be removed")
        credit += int(said.fields["n"]) if said.type == "DEMAND" else 0
        settled += len(said.verdicts)
        while sent < min(credit, len(requests)):
            events = [(str(sent + 1), None, requests[sent])]
            wire.send(Said("EVENTS", 1, events=events))
            sent += 1
    wire.send(Said("CLOSE", 0, fields={"code": "NORMAL"}))
    while wire.frame(patience) is not None:
        pass
    wire.close()


class ClientPlay:
    """Plays the broker to a client, which is told its lines, and compares what it sends."""

    def __init__(self, command: str, patience: float):
        self.patience = patience
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(patience)
        port = self.listener.getsockname()[1]
        self.process = subprocess.Popen(
            shlex.split(command.replace("{port}", str(port))), stdin=subprocess.PIPE, text=True)
        self.wire: Wire | None = None
        self.waiting: list[Said] = []

    def play(self, lines: list[Line]) -> None:
        try:
            for line in lines:
                # A client that keeps the protocol could not say what follows.
                if line.mark in ("!", "X"):
                    return
                try:
                    self.step(line)
                except (Failed, ValueError, OSError) as error:
                    raise Failed(f"line {line.number}, {line.text[:60]}: {error}") from None
        finally:
            self.end()

    def step(self, line: Line) -> None:
        if line.said is None:
            if line.who == "C":
                self.tell(line.text)
            if self.wire is not None:
                self.wire.close()
            self.wire = None
            return
        if line.who == "C":
            self.tell(line.text)
            self.expect(line.said)
        elif line.mark != "~":
            self.wire.send(line.said)

    def tell(self, text: str) -> None:
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def expect(self, wanted: Said) -> None:
        if self.wire is None:
            self.wire = Wire(self.listener.accept()[0], self.patience)
        for atom in wanted.atoms():
            while not self.waiting:
                said = self.wire.frame(self.patience)
                if said is None:
                    raise Failed(f"the client did not send {text_of(atom)}")
                if said.type != "PING" or wanted.type == "PING":
                    self.waiting += said.atoms()
            if not grammar.matches(free(atom), self.waiting[0]):
                raise Failed(f"sent {text_of(self.waiting[0])}, wanted {text_of(atom)}")
            self.waiting.pop(0)

    def end(self) -> None:
        if self.wire is not None:
            self.wire.close()
        self.listener.close()
        self.process.stdin.close()
        try:
            self.process.wait(self.patience)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def free(atom: tuple) -> tuple:
    """What a client chooses itself is not compared: names and tokens."""
    if atom[0] != "frame":
        return atom
    said = atom[1]
    chosen = {"session", "name", "keepalive", "reason", "retry", "max_frame"}
    fields = {name: value for name, value in said.fields.items() if name not in chosen}
    return ("frame", Said(said.type, said.link, said.flags, fields))


def start(command: str, patience: float) -> tuple[subprocess.Popen, tuple[str, int]]:
    """A new broker on a port that is free now, once it takes connections."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        shlex.split(command.replace("{port}", str(port))),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + patience
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return process, ("127.0.0.1", port)
        except OSError:
            if time.monotonic() > deadline or process.poll() is not None:
                process.kill()
                raise Failed("the broker does not start") from None
            time.sleep(0.02)


def play(lines: list[Line], options: argparse.Namespace) -> None:
    if options.client:
        ClientPlay(options.client, options.patience).play(lines)
        return
    process = None
    if options.start:
        process, address = start(options.start, options.patience)
    else:
        host, _, port = options.broker.rpartition(":")
        address = (host.strip("[]"), int(port))
    try:
        play = BrokerPlay(address, options.patience, options.quiet)
        try:
            play.play(lines)
        finally:
            play.wire.close()
            if process is None:
                clean(address, lines, options.patience)
    finally:
        if process is not None:
            process.kill()
            process.wait()


def main() -> int:
    parser = argparse.ArgumentParser(description="Plays the conversations of the protocol.")
    peer = parser.add_mutually_exclusive_group(required=True)
    peer.add_argument("--broker", metavar="HOST:PORT", help="a broker that runs and is not used")
    peer.add_argument("--start", metavar="COMMAND", help="starts a broker on {port}, for each anew")
    peer.add_argument("--client", metavar="COMMAND", help="starts a client of a broker on {port}")
    parser.add_argument("--patience", type=float, default=5, help="seconds to wait for a frame")
    parser.add_argument("--quiet", type=float, default=0.01,
                        help="seconds for which nothing may come that no line says")
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE")
    options = parser.parse_args()
    failures = 0
    for path in options.files or sorted(CONVERSATIONS.glob("*.txt")):
        text = path.read_text()
        if options.broker and text.startswith(NEEDS_NEW):
            print(f"skipped {path.stem}: it needs a new broker, see --start", flush=True)
            continue
        try:
            play(grammar.parse(text), options)
            print(f"ok {path.stem}", flush=True)
        except (Failed, OSError) as error:
            failures += 1
            print(f"FAILED {path.stem}: {error}", flush=True)
    return min(failures, 100)


if __name__ == "__main__":
    sys.exit(main())
