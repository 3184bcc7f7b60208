"""One end's account of one link; written from section 7 of ../protocol.md."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import frames
from frames import CODE_NUMBERS, Frame


class Refused(Exception):
    """The peer's frame disagrees with the account: close the link with `code`."""

    def __init__(self, code: str, reason: str):
        super().__init__(f"{code}: {reason}")
        self.code = CODE_NUMBERS[code]
        self.reason = reason


@dataclass
class Ledger:
    asked: int = 0
    delivered: int = 0
    forfeited: int = 0
    asked_bytes: int = 0
    delivered_bytes: int = 0
    forfeited_bytes: int = 0
    stopped_to: int = 0
    drained_to: int = 0

    @property
    def credit(self) -> int:
        return self.asked - self.delivered - self.forfeited

    @property
    def counts_bytes(self) -> bool:
        return self.asked_bytes > 0

    @property
    def byte_credit(self) -> int | None:
        """None on a link that does not count bytes."""
        if not self.counts_bytes:
            return None
        return self.asked_bytes - self.delivered_bytes - self.forfeited_bytes

    def check(self) -> None:
        """asked = delivered + forfeited + credit, and no credit below nothing."""
        if self.credit < 0 or (self.byte_credit or 0) < 0:
            raise AssertionError(f"the ledger does not balance: {self}")

    def covers(self, record_bytes: int) -> bool:
        enough = self.byte_credit is None or record_bytes <= self.byte_credit
        return self.credit > 0 and enough

    def as_json(self) -> dict:
        numbers = asdict(self)
        numbers["credit"] = self.credit
        numbers["byte_credit"] = self.byte_credit
        numbers["balances"] = (
            self.asked == self.delivered + self.forfeited + self.credit and self.credit >= 0
        )
        return numbers

    # The sink's entries

    def ask(self, link: int, n: int, bytes: int = 0, flags: int = 0) -> Frame:
        """Books a DEMAND and returns it."""
        self.asked += n
        self.asked_bytes += bytes
        if flags & frames.STOP:
            self.stopped_to = self.asked
        elif flags & frames.DRAIN:
            self.drained_to = self.asked
        self.check()
        return Frame(frames.DEMAND, link, flags, {
            "n": n, "total": self.asked, "bytes": bytes, "bytes_total": self.asked_bytes,
            "received": self.delivered,
        })

    def receive(self, first_sequence: int, count: int, bytes: int) -> None:
        """Books received EVENTS; nothing is booked if they are refused."""
        if first_sequence != self.delivered + 1:
            raise Refused("CREDIT_MISMATCH", f"sequence {first_sequence} after {self.delivered}")
        if count > self.credit:
            raise Refused("CREDIT_OVERRUN", f"{count} events for a credit of {self.credit}")
        if self.byte_credit is not None and bytes > self.byte_credit:
            raise Refused("CREDIT_OVERRUN", f"{bytes} bytes for a credit of {self.byte_credit}")
        self.delivered += count
        self.delivered_bytes += bytes
        self.check()

    def book(self, status: Frame) -> None:
        """Takes over from STATUS what the source has forfeited."""
        if not self.forfeited <= status.forfeited <= self.asked - self.delivered:
            raise Refused("CREDIT_MISMATCH", f"forfeited {status.forfeited}: {self}")
        self.forfeited = status.forfeited
        self.forfeited_bytes = status.forfeited_bytes
        self.check()

    # The source's entries

    def apply(self, demand: Frame, max_demand: int, max_demand_bytes: int) -> None:
        """Books a received DEMAND, in the order of checks that the protocol gives."""
        n, bytes = demand.n, demand.bytes
        if n == 0 and bytes == 0 and demand.flags == 0:
            raise Refused("BAD_DEMAND", "a DEMAND for nothing")
        if demand.total != self.asked + n:
            raise Refused("CREDIT_MISMATCH", f"total {demand.total}, expected {self.asked + n}")
        if demand.bytes_total != self.asked_bytes + bytes:
            raise Refused("CREDIT_MISMATCH", f"bytes_total {demand.bytes_total}: {self}")
        if bytes and self.asked and not self.counts_bytes:
            raise Refused("CREDIT_MISMATCH", "bytes are counted from the start or never")
        if demand.received > self.delivered:
            raise Refused("CREDIT_MISMATCH", f"received {demand.received}: {self}")
        if self.credit + n > max_demand or (self.byte_credit or 0) + bytes > max_demand_bytes:
            raise Refused("LIMIT", "more outstanding than max_demand")
        self.asked += n
        self.asked_bytes += bytes
        if demand.has(frames.STOP):
            self.stopped_to = self.asked
            self.forfeit()
        elif demand.has(frames.DRAIN):
            self.drained_to = self.asked
        self.check()

    def deliver(self, count: int, bytes: int) -> None:
        self.delivered += count
        self.delivered_bytes += bytes

    def forfeit(self) -> None:
        """Gives up all credit, in events and with the last event in bytes."""
        self.forfeited += self.credit
        self.forfeited_bytes += self.byte_credit or 0

    def status(self, link: int, flags: int = 0, **fields: int) -> Frame:
        return Frame(frames.STATUS, link, flags, {**asdict(self), **fields})

    # Resume

    def resume_option(self) -> dict:
        return {
            "position": self.delivered, "position_bytes": self.delivered_bytes,
            "asked": self.asked, "asked_bytes": self.asked_bytes,
            "stopped_to": self.stopped_to, "drained_to": self.drained_to,
        }

    def resume(self, opened: Frame) -> None:
        """Takes over the broker's account; as a sink all but `forfeited` is ours already."""
        for name in ("asked", "asked_bytes", "delivered_bytes", "forfeited", "forfeited_bytes"):
            setattr(self, name, opened.fields[name])
        self.delivered = opened.next_sequence - 1
        self.stopped_to = opened.stopped_to
        self.drained_to = opened.drained_to
        self.check()
