"""The good client: it publishes so many events a second and consumes them again.

An event is due at a time, whatever became of those before it; how long it took counts from then on.
What has not come yet when somebody asks counts with its age, so that a stall cannot hide.
"""

from __future__ import annotations

import multiprocessing
import os
import select
import struct
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe

import frames
from link import Link, Lost, demand, open_sink, open_source, records, status

RATE_PER_S = 950
TOPIC = "good"
SINK, SOURCE = 1, 2
ASKED_EVENTS = 10_000
# At most so many in a frame, so that nobody can say that the good one floods.
BATCH_EVENTS = 256


@dataclass
class Report:
    """What of the events that were due came, and after how long (in seconds)."""

    seconds: float
    delivered: int
    due: int
    p50: float
    p99: float
    longest: float
    failure: str = ""

    @property
    def rate(self) -> float:
        return self.delivered / self.seconds if self.seconds else 0


class Good:
    """Runs in a process of its own."""

    def __init__(self, address: tuple[str, int], pipe: Pipe):
        self.pipe = pipe
        self.link = Link(address, "good")
        self.asked = self.sent = self.forfeited = 0
        self.consumed = 0
        self.demanded = ASKED_EVENTS
        self.announced = 0
        self.delays: list[float] = []
        self.due_before = 0
        self.link.send(
            open_sink(SINK, TOPIC, ASKED_EVENTS) + open_source(SOURCE, TOPIC)
        )
        self.start = self.marked = time.monotonic()

    def due(self, now: float) -> int:
        return int((now - self.start) * RATE_PER_S)

    def due_at(self, number: int) -> float:
        return self.start + number / RATE_PER_S

    def run(self) -> None:
        readable = [self.link.socket, self.pipe]
        while True:
            now = time.monotonic()
            self.publish(now)
            pause = self.due_at(self.sent + 1) - time.monotonic() if self.credit else 1
            ready, _, _ = select.select(readable, [], [], max(0, min(pause, 1)))
            if self.link.socket in ready:
                if not self.link.read():
                    raise Lost("the broker closed the connection")
                self.take()
            if self.pipe in ready and not self.answer(self.pipe.recv()):
                return

    @property
    def credit(self) -> int:
        return self.asked - self.sent - self.forfeited

    def publish(self, now: float) -> None:
        due = self.due(now) - self.sent
        count = min(due, self.credit, BATCH_EVENTS)
        if count > 0:
            body = b"".join(
                struct.pack(">Id", 8, self.due_at(self.sent + n + 1)) for n in range(count)
            )
            self.link.send(records(SOURCE, self.sent + 1, body, count))
            self.sent += count
        self.announce(now)

    def announce(self, now: float) -> None:
        """Tells what waits beyond the credit, and again once that is twice as much."""
        uncovered = max(0, self.due(now) - self.sent - self.credit)
        if uncovered > 2 * self.announced:
            self.announced = uncovered
            self.report_status(uncovered)

    def report_status(self, available: int, flags: int = 0) -> None:
        fields = {
            "asked": self.asked, "delivered": self.sent, "forfeited": self.forfeited,
            "available": available, "blocked_by": 1,
        }
        self.link.send(status(SOURCE, flags, **fields))

    def take(self) -> None:
        now = time.monotonic()
        for type, flags, link, body in self.link.frames():
            if type == frames.EVENTS and link == SINK and not flags:
                self.consume(body, now)
            elif type == frames.DEMAND and link == SOURCE:
                granted = int.from_bytes(body[4:12], "big") - self.asked
                self.asked += granted
                self.announced = max(0, self.announced - granted)
                if flags & frames.STOP:
                    self.forfeited += self.credit
                    self.announced = max(0, self.due(now) - self.sent)
                    self.report_status(self.announced, frames.DRAINED)
            elif type == frames.CLOSE:
                close = frames.decode(type, flags, link, body)
                raise Lost(f"CLOSE {link} {frames.code_name(close.code)} {close.reason}")

    def consume(self, body: bytes, now: float) -> None:
        position = 8
        while position < len(body):
            count, length = struct.unpack_from(">II", body, position)
            position += 28
            for _, due in struct.iter_unpack(">Id", body[position : position + length]):
                if due >= self.marked:
                    self.delays.append(now - due)
            position += length
            self.consumed += count
        if self.demanded - self.consumed < ASKED_EVENTS // 2:
            self.demanded += ASKED_EVENTS // 2
            self.link.send(
                demand(SINK, ASKED_EVENTS // 2, self.demanded, self.consumed)
            )

    def answer(self, word: str) -> bool:
        now = time.monotonic()
        if word == "mark":
            self.marked, self.delays = now, []
            self.due_before = self.due(now)
            self.pipe.send("marked")
        elif word == "report":
            self.pipe.send(self.report(now))
        return word != "end"

    def report(self, now: float, failure: str = "") -> Report:
        due = self.due(now) - self.due_before
        # Those still to come that were due in this time, the oldest first.
        missing = min(due, self.due(now) - self.consumed)
        ages = [now - self.due_at(self.consumed + n + 1) for n in range(max(0, missing))]
        delays = sorted(self.delays + ages)
        last = len(delays) - 1
        return Report(
            seconds=now - self.marked, delivered=len(self.delays), due=due,
            p50=delays[last // 2] if delays else 0,
            p99=delays[int(last * 0.99)] if delays else 0,
            longest=delays[-1] if delays else 0, failure=failure,
        )


def live(address: tuple[str, int], pipe: Pipe, core: int | None) -> None:
    if core is not None:
        os.sched_setaffinity(0, {core})
    good = None
    try:
        good = Good(address, pipe)
        pipe.send("begun")
        good.run()
    except (Lost, OSError) as error:
        pipe.send("begun")
        # It answers on, so that whoever asks learns of it.
        while (word := pipe.recv()) != "end":
            if word == "mark":
                pipe.send("marked")
            elif good:
                pipe.send(good.report(time.monotonic(), f"{error}"))
            else:
                pipe.send(Report(0, 0, 0, 0, 0, 0, f"{error}"))


class GoodClient:
    """The good client's process, to be asked from another."""

    def __init__(self, address: tuple[str, int], core: int | None):
        self.pipe, theirs = multiprocessing.Pipe()
        self.process = multiprocessing.Process(
            target=live, args=(address, theirs, core), daemon=True
        )
        self.process.start()
        self.pipe.recv()

    def mark(self) -> None:
        self.pipe.send("mark")
        while self.pipe.recv() != "marked":
            pass

    def report(self) -> Report:
        self.pipe.send("report")
        while not isinstance(answer := self.pipe.recv(), Report):
            pass
        return answer

    def end(self) -> None:
        self.process.kill()
        self.process.join()
