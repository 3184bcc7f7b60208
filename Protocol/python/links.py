"""The two kinds of link: what a consumer and a producer do with their frames."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Iterable

import frames
from frames import Event, Frame, Malformed, Run
from ledger import Ledger, Refused

if TYPE_CHECKING:
    from sluice import Client


class SluiceError(Exception):
    """What the broker said (or the network did) when something ended."""

    def __init__(self, code: str, reason: str = "", link: int = 0, retry_ms: int = 0):
        super().__init__(f"{code} on link {link}: {reason}")
        self.code, self.reason, self.link, self.retry_ms = code, reason, link, retry_ms


class Disconnected(SluiceError):
    """The TCP connection broke without CLOSE: the session can be resumed."""


class TimedOut(Exception):
    """What was waited for did not come in time."""


def close_frame(link: int, code: str, reason: str = "") -> Frame:
    number = frames.CODE_NUMBERS.get(code, 0)
    return Frame(frames.CLOSE, link, 0, {"code": number, "reason": reason})


class Link:
    """What producers and consumers share: the id, the account, and how it ended."""

    role = frames.SINK

    def __init__(self, client: Client, topic: str, options: dict):
        self.client, self.topic, self.options = client, topic, options
        self.id = 0
        self.ledger = Ledger()
        self.head = 0
        self.is_open = False
        self.closing = False
        self.error: SluiceError | None = None

    def open(self, timeout: float, resume: bool = False) -> None:
        options = dict(self.options)
        for name in (self.topic, options.get("group"), options.get("name")):
            if name and not frames.is_name(name):
                raise ValueError(f"{name!r} is no name: too long, or with what no name has")
        if resume:
            options.pop("demand", None)
            options["resume"] = self.resume_option()
        else:
            self.id = self.client.next_id()
            self.ledger = Ledger()
            if "demand" in options:
                self.ledger.ask(self.id, *options["demand"])
        self.is_open, self.closing, self.error = False, False, None
        self.client.links[self.id] = self
        self.client.send(Frame(frames.OPEN, self.id, 0, {
            "role": self.role, "topic": self.topic, "options": frames.options(**options),
        }))
        self.client.wait(lambda: self.is_open, timeout, self)

    def resume_option(self) -> dict:
        return self.ledger.resume_option()

    def handle_opened(self, frame: Frame) -> None:
        self.head = frame.head
        if frame.has(frames.RESUMED):
            self.ledger.resume(frame)
        elif frame.asked != self.ledger.asked or frame.next_sequence != 1:
            raise Refused("CREDIT_MISMATCH", "OPENED disagrees with a new link")
        self.is_open = True

    def close(self, code: str = "NORMAL", timeout: float = 10) -> None:
        """Ends the link and waits for the answer."""
        if self.id not in self.client.links:
            return
        self.closing = True
        self.client.send(close_frame(self.id, code))
        self.client.wait(lambda: self.id not in self.client.links, timeout)

    def refuse(self, refused: Refused) -> None:
        self.closing = True
        self.client.send(close_frame(self.id, frames.code_name(refused.code), refused.reason))
        self.error = SluiceError(frames.code_name(refused.code), refused.reason, self.id)


class Consumer(Link):
    """The sink of a link on a topic of the broker."""

    role = frames.SINK

    def __init__(self, client: Client, topic: str, options: dict):
        super().__init__(client, topic, options)
        self.events: deque[Event] = deque()
        self.gaps: list[dict] = []
        # How many gaps came on this link, also those that somebody took out of the list.
        self.gaps_heard = 0
        # Offset and text of each marker; the text of an end is None.
        self.marks: list[tuple[int, str | None]] = []
        self.last_status: Frame | None = None
        self.drained = 0
        self.echoes = 0

    def resume_option(self) -> dict:
        return {**self.ledger.resume_option(), "gaps": self.gaps_heard}

    def handle_opened(self, frame: Frame) -> None:
        super().handle_opened(frame)
        if not frame.has(frames.RESUMED):
            self.gaps_heard = 0

    def ask(self, n: int, bytes: int = 0, flags: int = 0) -> None:
        welcome = self.client.welcome
        if self.ledger.credit + n > welcome.max_demand:
            raise ValueError("more than max_demand would be outstanding")
        self.client.send(self.ledger.ask(self.id, n, bytes, flags))

    def receive(self, timeout: float = 10) -> Event:
        """The next event; what is asked is the caller's business."""
        self.client.wait(lambda: bool(self.events), timeout, self)
        return self.events.popleft()

    def take(self, n: int, timeout: float = 10) -> list[Event]:
        """Asks for exactly n events and returns them."""
        self.ask(n)
        return [self.receive(timeout) for _ in range(n)]

    def stop(self, timeout: float = 10) -> Frame:
        """Gives back what is asked; returns the source's last word on it."""
        return self._until_answered(frames.STOP, timeout)

    def drain(self, n: int = 0, bytes: int = 0, timeout: float = 10) -> Frame:
        """Takes what waits now, up to what is asked."""
        return self._until_answered(frames.DRAIN, timeout, n, bytes)

    def echo(self, timeout: float = 10) -> Frame:
        """The source's ledger, which equals ours when nothing is on the way."""
        before = self.echoes
        self.ask(0, flags=frames.DEMAND_ECHO)
        self.client.wait(lambda: self.echoes > before, timeout, self)
        return self.last_status

    def _until_answered(self, flag: int, timeout: float, n: int = 0, bytes: int = 0) -> Frame:
        before = self.drained
        self.ask(n, bytes, flag)
        self.client.wait(lambda: self.drained > before, timeout, self)
        return self.last_status

    def handle(self, frame: Frame) -> None:
        if frame.type == frames.STATUS:
            self.ledger.book(frame)
            self.last_status = frame
            self.drained += frame.has(frames.DRAINED)
            self.echoes += frame.has(frames.STATUS_ECHO)
        elif frame.type == frames.EVENTS and frame.flags:
            if frame.next_sequence != self.ledger.delivered + 1:
                raise Refused("CREDIT_MISMATCH", "a gap or a mark at another place")
            if not frame.has(frames.GAP):
                # Of the end there is no text.
                self.marks.append((frame.offset, frame.fields.get("text")))
                return
            self.gaps_heard += 1
            gap = {name: frame.fields[name] for name in ("from", "to", "count")}
            self.gaps.append({**gap, "reason": frames.GAP_REASONS[frame.fields["reason"]]})
        elif frame.type == frames.EVENTS:
            first, runs = frame.first_sequence, frame.runs
            # The records are read before they are booked: a malformed frame must not count.
            count, size = sum(run.count for run in runs), sum(len(run.records) for run in runs)
            taken, sequence = [], first
            for run in runs:
                taken += run.events(sequence)
                sequence += run.count
            self.ledger.receive(first, count, size)
            self.events.extend(taken)
        else:
            raise Malformed(f"{frames.TYPE_NAMES[frame.type]} on a consumer's link")


class Producer(Link):
    """The source of a link into a topic of the broker."""

    role = frames.SOURCE

    def __init__(self, client: Client, topic: str, options: dict):
        super().__init__(client, topic, options)
        self.unsettled: OrderedDict[int, Event] = OrderedDict()
        self.to_resend: deque[Event] = deque()
        self.rejected: list[tuple[int, str]] = []
        self.accepted = 0
        self.recalled = 0
        self.settled_unknown = 0
        # The total in bytes at which the broker was told that bytes hold us up.
        self._told_at: int | None = None
        # What waits to be published; None: nobody knows, demand is answered as it comes.
        self.waiting: int | None = options.get("available")
        # How much of it, beyond our credit, the broker has been told and not granted yet.
        self.announced = self.waiting or 0

    def open(self, timeout: float, resume: bool = False) -> None:
        if self.waiting is not None and (self.unsettled or self.to_resend):
            # Before OPENED nobody knows how much of what was sent has arrived.
            self.waiting = self.announced = len(self.unsettled) + len(self.to_resend)
            self.options["available"] = self.waiting
        super().open(timeout, resume)
        if resume and self.waiting is not None:
            self.announce(len(self.to_resend))

    def announce(self, waiting: int, **fields: int) -> None:
        """Tells the broker what waits here; legal without any credit."""
        self.waiting = waiting
        self.send_status(0, **fields)

    def send_status(self, flags: int, **fields: int) -> None:
        """Every STATUS of a producer announces its backlog."""
        available = frames.UNKNOWN_BACKLOG
        if self.waiting is not None:
            available = self.announced = max(0, self.waiting - self.ledger.credit)
        status = self.ledger.status(self.id, flags, available=available, **fields)
        self.client.send(status)

    def wait_credit(self, n: int = 1, timeout: float = 10) -> int:
        """Waits until at least n events may be sent; returns how many may."""
        self.client.wait(lambda: self.ledger.credit >= n, timeout, self)
        return self.ledger.credit

    def publish(self, *events: Event, timeout: float = 10) -> None:
        """Sends each event when credit covers it; splits a batch, never an event."""
        self._publish(deque(events), timeout)

    def _publish(self, waiting: deque[Event], timeout: float) -> None:
        """What was sent is in `unsettled`, and no longer in `waiting`, also if this fails."""
        while waiting:
            if self.waiting is not None:
                self.waiting = len(waiting)
            batch = self._covered(waiting)
            if not batch:
                self._wait_for(waiting, timeout)
                continue
            for _ in batch:
                waiting.popleft()
            self._send(batch)

    def force(self, *events: Event) -> None:
        """Sends whatever the credit says, to see that the broker refuses it."""
        self._send(list(events))

    def publish_again(self, timeout: float = 10) -> int:
        """After a resume: sends what never arrived, on new demand."""
        count = len(self.to_resend)
        self._publish(self.to_resend, timeout)
        return count

    def wait_settled(self, timeout: float = 10) -> None:
        if self.unsettled:
            # The SETTLE comes before the PONG; without being asked the broker waits a moment.
            self.client.ping(timeout)
        self.client.wait(lambda: not self.unsettled, timeout, self)

    def _covered(self, waiting: Iterable[Event]) -> list[Event]:
        """The longest front of `waiting` that both credits and one frame cover."""
        batch, size = [], 0
        room = self.client.max_frame - 36
        if self.ledger.byte_credit is not None:
            room = min(room, self.ledger.byte_credit)
        for event in waiting:
            size += len(event.record())
            if size > room or len(batch) == self.ledger.credit:
                break
            batch.append(event)
        return batch

    def _wait_for(self, waiting: deque[Event], timeout: float) -> None:
        need = len(waiting[0].record())
        if need > self.client.welcome.max_event:
            raise ValueError("an event larger than max_event")
        if self.ledger.credit and self._told_at != self.ledger.asked_bytes:
            self._told_at = self.ledger.asked_bytes
            self.send_status(0, blocked_by=3, need_bytes=need)
        elif self.waiting is not None and len(waiting) - self.ledger.credit > self.announced:
            self.send_status(0)
        asked = (self.ledger.asked, self.ledger.asked_bytes)
        self.client.wait(
            lambda: (self.ledger.asked, self.ledger.asked_bytes) != asked, timeout, self
        )

    def _send(self, batch: list[Event]) -> None:
        first = self.ledger.delivered + 1
        records = b"".join(event.record() for event in batch)
        for sequence, event in enumerate(batch, first):
            self.unsettled[sequence] = event
        self.ledger.deliver(len(batch), len(records))
        if self.waiting is not None:
            self.waiting = max(0, self.waiting - len(batch))
        self.client.send(Frame(frames.EVENTS, self.id, 0, {
            "first_sequence": first, "runs": [Run(len(batch), records)],
        }))

    def handle_opened(self, frame: Frame) -> None:
        super().handle_opened(frame)
        if not frame.has(frames.RESUMED):
            return
        lost = []
        for sequence, event in list(self.unsettled.items()):
            if sequence < frame.next_sequence:
                self.accepted += 1
            else:
                lost.append(event)
            del self.unsettled[sequence]
        # Before what an earlier cut left to be sent again.
        self.to_resend.extendleft(reversed(lost))

    def handle(self, frame: Frame) -> None:
        if frame.type == frames.DEMAND:
            welcome = self.client.welcome
            self.ledger.apply(frame, welcome.max_demand, welcome.max_demand_bytes)
            self.announced = max(0, self.announced - frame.n)
            answer = 0
            if frame.has(frames.STOP | frames.DRAIN):
                self.ledger.forfeit()
                self.recalled += 1
                answer |= frames.DRAINED
            if frame.has(frames.DEMAND_ECHO):
                answer |= frames.STATUS_ECHO
            if answer:
                self.send_status(answer)
        elif frame.type == frames.SETTLE:
            for start, count, outcome, argument in frame.ranges:
                for sequence in range(start, start + count):
                    self._settle(sequence, outcome, argument)
        else:
            raise Malformed(f"{frames.TYPE_NAMES[frame.type]} on a producer's link")

    def _settle(self, sequence: int, outcome: int, argument: int) -> None:
        if self.unsettled.pop(sequence, None) is None:
            self.settled_unknown += 1
        elif frames.OUTCOMES[outcome] == "accept":
            self.accepted += 1
        else:
            self.rejected.append((sequence, frames.code_name(argument)))
