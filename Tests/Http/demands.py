"""What must come after something was sent; each demand takes what the RFC leaves open either way.

RFC 9113, 5.4.1: GOAWAY before closing is a SHOULD, so closing alone will do; a stream error may
be treated as a connection error. 8.1.1: a malformed request may also be answered.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable

from wire import Code, Connection, Late, Lost


class Unmet(Exception):
    """What came instead."""


class NotApplicable(Exception):
    """Why there is nothing to look at."""


@dataclass(frozen=True)
class Demand:
    text: str
    hold: Callable[[Connection], None]


@dataclass(frozen=True)
class Case:
    """What is sent, and what some section of an RFC demands to come."""

    name: str
    section: str
    sent: str
    demand: Demand
    run: Callable[[Connection], None]
    # How the connection is made.
    connect: Callable[..., Connection]
    # Without the handshake, for what goes wrong in it.
    bare: bool


class Table:
    """The cases of one file, in its order."""

    def __init__(self, rfc: int, connect: Callable[..., Connection] = Connection):
        self.rfc, self.connect = rfc, connect
        self.cases: list[Case] = []

    def case(
        self, section: str, sent: str, demand: Demand, bare: bool = False,
        connect: Callable[..., Connection] | None = None,
    ):
        def enter(run: Callable[[Connection], None]) -> Callable[[Connection], None]:
            name = run.__name__.replace("_", "-")
            where = f"{self.rfc} {section}"
            how = connect or self.connect
            self.cases.append(Case(name, where, sent, demand, run, how, bare))
            return run

        return enter


def names(codes: tuple[int, ...]) -> str:
    return " or ".join(Code.text(code) for code in codes)


def check_goaway(c: Connection, codes: tuple[int, ...]) -> None:
    if c.goaway is not None and c.goaway.error_code not in codes:
        raise Unmet(f"GOAWAY {Code.text(c.goaway.error_code)}")


def check_whole(c: Connection) -> None:
    """Nothing was complained of."""
    if c.goaway is not None:
        raise Unmet(f"GOAWAY {Code.text(c.goaway.error_code)}")
    for stream, code in c.resets.items():
        raise Unmet(f"RST_STREAM {stream} {Code.text(code)}")


def ends(*codes: int) -> Demand:
    """A connection error."""

    def hold(c: Connection) -> None:
        try:
            c.wait_end()
        except Late:
            what = "GOAWAY, and the connection stayed" if c.goaway else "the connection stayed"
            raise Unmet(what) from None
        check_goaway(c, codes)

    return Demand(f"GOAWAY {names(codes)}, or closed", hold)


def closes() -> Demand:
    """The end of the connection, whatever is said before it."""
    return Demand("closed", lambda c: c.wait_end())


def resets(stream: int, *codes: int) -> Demand:
    """A stream error; the connection lives on, unless it is made one of its own."""

    def hold(c: Connection) -> None:
        try:
            c.wait(lambda: stream in c.resets or c.goaway)
        except Lost:
            return
        check_goaway(c, codes)
        if stream in c.resets and c.resets[stream] not in codes:
            raise Unmet(f"RST_STREAM {Code.text(c.resets[stream])}")
        if not c.goaway:
            c.ping()

    return Demand(f"RST_STREAM {names(codes)}, or GOAWAY with it, or closed", hold)


def malformed(stream: int = 1) -> Demand:
    """What a malformed request is worth: never an answer as if it were none."""
    return refused(stream, Code.PROTOCOL_ERROR)


def refused(stream: int, *codes: int) -> Demand:
    """An answer of the 4xx, or the stream's or the connection's error."""

    def hold(c: Connection) -> None:
        try:
            c.wait(lambda: stream in c.resets or c.goaway or c.answer(stream).status)
        except Lost:
            return
        status = c.answer(stream).status
        if status is not None and not status.startswith("4"):
            raise Unmet(f"answered {status}")
        check_goaway(c, codes)
        # RFC 9113, 8.1: NO_ERROR after an answer asks that the rest be not sent.
        known = codes if status is None else (*codes, Code.NO_ERROR)
        if stream in c.resets and c.resets[stream] not in known:
            raise Unmet(f"RST_STREAM {Code.text(c.resets[stream])}")
        if not c.goaway:
            c.ping()

    return Demand(f"RST_STREAM {names(codes)}, 4xx, GOAWAY or closed", hold)


def answers(stream: int = 1, status: str = "200") -> Demand:
    """A whole answer, and nothing complained of."""

    def hold(c: Connection) -> None:
        c.wait(lambda: c.answer(stream).ended or stream in c.resets or c.goaway)
        if c.answer(stream).status != status:
            raise Unmet(f"answered {c.answer(stream).status}")
        check_whole(c)
        if not c.answer(stream).ended:
            raise Unmet("the answer has no end")

    return Demand(f"answer {status}", hold)


def lives() -> Demand:
    """Nothing happens, and the connection goes on."""

    def hold(c: Connection) -> None:
        c.ping()
        check_whole(c)

    return Demand("no error", hold)


def ignored_or(stream: int, *codes: int) -> Demand:
    """Where the RFC lets a server ignore it or complain; a second answer it does not let."""

    def hold(c: Connection) -> None:
        before = len(c.answer(stream).statuses)
        try:
            c.ping()
        except Lost:
            check_goaway(c, codes)
            return
        check_goaway(c, codes)
        if c.resets.get(stream, codes[0]) not in codes:
            raise Unmet(f"RST_STREAM {Code.text(c.resets[stream])}")
        if len(c.answer(stream).statuses) > before:
            raise Unmet("a second answer")

    return Demand(f"ignored, or {names(codes)}", hold)


def holds(text: str) -> Demand:
    """All that matters was looked at while it was sent."""
    return Demand(text, check_whole)


def require(so: object, what: str) -> None:
    if not so:
        raise Unmet(what)
