#!/usr/bin/env python3
"""Attacks a broker, and looks how a good client beside the attacker fares; README.md tells more.

  hostile.py path/to/sluice
  hostile.py --short --only filters --only topics path/to/sluice

Held in each row: the good client's p99 from publishing to delivery, its rate against the same with
the attacker idle, the broker's memory, and what the row has of its own. --short holds no times.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection as Pipe

HERE = pathlib.Path(__file__).resolve().parent
# The frames are the second client's, the floods are the HTTP proof's.
sys.path += [str(HERE.parents[1] / "Protocol" / "python"), str(HERE.parent / "Http")]

import attacks  # noqa: E402
import frames  # noqa: E402
import good  # noqa: E402
import statistics_attacks  # noqa: E402
import web_attacks  # noqa: E402
from attacks import Siege  # noqa: E402
from good import GoodClient, Report  # noqa: E402
from link import (  # noqa: E402
    Link,
    Lost,
    close,
    is_frame,
    open_sink,
    open_source,
    publish,
    records,
    status,
)
from web_attacks import floods  # noqa: E402

P99_SECONDS_MAX = 0.020
RATE_SHARE_MIN = 0.9
MEMORY_LIMIT_MIB = 512
# A hundred thousand topics take more than that.
ALL_TOPICS_LIMIT_MIB = 4_096
REPEATS = 5
SHORT_REPEATS = 3
# After so long no row is repeated any more, so that all of them end in five minutes.
REPEATING_SECONDS_MAX = 150
IDLE_SECONDS = 0.7
SHORT_SCALE = 0.25
# An attack that is not ready by then is given up, and what it did until then counts.
READY_SECONDS_MAX = 30
START_SECONDS_MAX = 20


@dataclass(frozen=True)
class Address:
    binary: tuple[str, int]
    http: tuple[str, int]
    pid: int


@dataclass(frozen=True)
class Row:
    """An attack, how long it goes on, and what is held beside the figures of all."""

    name: str
    attack: Callable[[Siege], str | None]
    seconds: float = 2.0
    # The good client is watched only after so long: what the attack costs before is allowed.
    grace: float = 0
    memory: int = MEMORY_LIMIT_MIB
    # Looks at the broker while the attack goes on; tells what is wrong.
    during: Callable[[Address, bool], str] | None = None
    # Makes something before the attack that `during` of the same name looks for.
    before: Callable[[Address], object] | None = None
    after: Callable[[Address, object], str] | None = None
    http: bool = False
    shards: int = 1
    limit: int = MEMORY_LIMIT_MIB


def link_opens(address: Address, any_time: bool) -> str:
    """Whether somebody else may still have a topic of his own."""
    link = Link(address.binary)
    link.send(open_sink(1, f"other{os.getpid()}{time.monotonic_ns()}", 1))
    type, flags, number, body = link.wait(
        lambda type, flags, link, _: link == 1 and type in (frames.OPENED, frames.CLOSE)
    )
    link.close()
    if type == frames.CLOSE:
        close = frames.decode(type, flags, number, body)
        return f"nobody else gets a topic: {frames.code_name(close.code)}"
    return ""


LARGE_BYTES = 300_000
LARGE_SECONDS_MAX = 0.5


def large_event_passes(address: Address, any_time: bool) -> str:
    """Whether an event that needs the assembly of a large frame comes through."""
    link = Link(address.binary)
    link.send(open_sink(1, "large", 10) + open_source(2, "large", 10))
    _, _, _, body = link.wait(lambda type, _, link, __: type == frames.DEMAND and link == 2)
    asked_bytes = int.from_bytes(body[16:24], "big")
    record = frames.Event(bytes(LARGE_BYTES)).record()
    if asked_bytes < len(record):
        link.send(status(
            2, asked=int.from_bytes(body[4:12], "big"), asked_bytes=asked_bytes, available=1,
            blocked_by=3, need_bytes=len(record),
        ))
        link.wait(lambda type, _, link, __: type == frames.DEMAND and link == 2)
    began = time.monotonic()
    link.send(records(2, 1, record, 1))
    link.wait(lambda type, _, link, __: type == frames.EVENTS and link == 1)
    seconds = time.monotonic() - began
    link.close()
    if not any_time and seconds > LARGE_SECONDS_MAX:
        return f"an event of {LARGE_BYTES // 1_000} kB took {seconds:.1f} s"
    return ""


def leave_session(address: Address) -> bytes:
    link = Link(address.binary, "away")
    link.send(open_sink(1, "kept", 1, group="kept"))
    link.wait(lambda type, _, link, __: type == frames.OPENED and link == 1)
    link.close()
    return link.session


def session_is_there(address: Address, session: object) -> str:
    assert isinstance(session, bytes)
    link = Link(address.binary, "away", session)
    return "" if link.resumed else "a session that was there before is gone"


def document_of(link: Link, number: int, topic: str) -> dict:
    """What a topic's document says."""
    link.send(open_sink(number, f"$sys/topics/{topic}", 1))
    type, flags, _, body = link.wait(is_frame(frames.EVENTS, number))
    run = frames.decode(type, flags, number, body).runs[0]
    return json.loads(run.events(1)[0].payload)


def alarm_is_told(address: Address, any_time: bool) -> str:
    """Whether the broker says when a left group ends, and which group has filled a topic."""
    link = Link(address.binary)
    left = document_of(link, 1, good.TOPIC)
    group = next((g for g in left["groups"] if g["group"] == "left"), {})
    end = group.get("expiresInSeconds")
    if end is None or not 0 < end <= left["groupExpireAfter"] == group["expireAfter"]:
        return "nobody is told when a group without members ends"
    request = json.dumps({"op": "create-topic", "topic": "full", "buffer": 10}).encode()
    publish(link, 2, "$sys/ctl", request, 1)
    link.send(open_sink(3, "full", 1, group="left") + close(3))
    link.wait(is_frame(frames.CLOSE, 3))
    publish(link, 4, "full", b"x", 8)
    full = document_of(link, 5, "full")
    link.close()
    if full.get("alarm") != {"group": "left", "reason": "events"}:
        return "nobody is told that a group without members fills the topic"
    return ""


ROWS = [
    Row("partition-churn", attacks.partition_churn, 4),
    Row("filters", attacks.many_headers, 3),
    Row("group-memory", attacks.group_memory, 4),
    Row("dropped-partitions", attacks.dropped_partitions, 3),
    Row("announcer", attacks.announcer, 4, grace=8),
    Row("topics", attacks.many_topics, 6, during=link_opens),
    Row("sessions", attacks.sessions, 7, before=leave_session, after=session_is_there),
    Row("unfinished-8", attacks.unfinished(8), 2, during=large_event_passes),
    Row("unfinished-24", attacks.unfinished(24), 2, during=large_event_passes),
    Row("unfinished-300", attacks.unfinished(300), 3, during=large_event_passes),
    Row("trickled", attacks.trickled, 6),
    Row("in-flight", attacks.in_flight, 5),
    Row("sys-topics", attacks.polled_topics, 2),
    Row("json", web_attacks.tiny_events, 2),
    Row("status", attacks.flipping, 2),
    Row("left-group", attacks.abandoned_group, 1, during=alarm_is_told),
    Row("metrics", web_attacks.scrapes, 3),
    *(
        Row(
            f"{name}-all-{shards}", attack, 3, shards=shards, limit=ALL_TOPICS_LIMIT_MIB,
            memory=ALL_TOPICS_LIMIT_MIB,
        )
        for shards in (1, 3)
        for name, attack in (
            ("metrics", statistics_attacks.looks(statistics_attacks.scrape)),
            ("list-topics", statistics_attacks.looks(statistics_attacks.pages)),
            # Forty megabytes, which nobody waits for in a second.
            ("documents", statistics_attacks.looks(statistics_attacks.documents, 10)),
        )
    ),
    *(
        Row(f"http-{attack.name}", web_attacks.flood(attack), max(2, attack.within + 1), http=True)
        for attack in floods.ATTACKS
    ),
]


@dataclass
class Result:
    row: Row
    idle: Report
    report: Report
    memory: int
    misses: list[str] = field(default_factory=list)
    told: str = ""

    @property
    def share(self) -> float:
        return self.report.rate / self.idle.rate if self.idle.rate else 0

    def hold_times(self) -> None:
        if self.report.p99 > P99_SECONDS_MAX:
            self.misses.append(f"p99 above {P99_SECONDS_MAX * 1_000:.0f} ms")
        if self.share < RATE_SHARE_MIN:
            self.misses.append(f"rate below {RATE_SHARE_MIN:.0%}")

    def line(self) -> str:
        return (
            f"{self.row.name:<26}{self.idle.rate:>7.0f}{self.report.rate:>8.0f}"
            f"{self.share:>7.0%}{self.report.p99 * 1_000:>10.1f}"
            f"{self.report.longest * 1_000:>10.1f}{self.memory:>7}  "
            f"{'; '.join(self.misses) or 'ok'}{self.told and f' ({self.told})'}"
        )


HEAD = (
    f"{'attack':<26}{'idle/s':>7}{'rate/s':>8}{'share':>7}{'p99 ms':>10}{'max ms':>10}{'MiB':>7}"
)


class Cores:
    """The broker has the first, all others the second: where there is one alone they share it."""

    def __init__(self) -> None:
        cores = sorted(os.sched_getaffinity(0))
        self.broker, self.others = cores[0], cores[1 % len(cores)]


@contextlib.contextmanager
def broker(sluice: str, cores: Cores, row: Row) -> Iterator[tuple[Address, subprocess.Popen]]:
    with tempfile.TemporaryDirectory() as directory:
        ready = pathlib.Path(directory, "ready")
        words = [
            sluice, "serve", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0",
            "--shards", str(row.shards), "--ready-file", str(ready), "--log-level", "error",
        ]
        if knows(sluice, "--memory-limit"):
            words += ["--memory-limit", f"{row.limit}MiB"]
        environment = {key: value for key, value in os.environ.items() if "SLUICE_" not in key}
        with tempfile.TemporaryFile() as log:
            child = subprocess.Popen(
                words, stderr=log, env=environment,
                preexec_fn=lambda: os.sched_setaffinity(0, {cores.broker}),
            )
            try:
                yield wait_for(child, ready), child
                if child.poll() is not None:
                    log.seek(0)
                    print(log.read()[-2_000:].decode(errors="replace"), file=sys.stderr)
            finally:
                child.kill()
                child.wait()


KNOWN: dict[str, str] = {}


def knows(sluice: str, flag: str) -> bool:
    if sluice not in KNOWN:
        words = [sluice, "serve", "--help"]
        KNOWN[sluice] = subprocess.run(words, capture_output=True, text=True, check=False).stdout
    return flag in KNOWN[sluice]


def wait_for(child: subprocess.Popen, ready: pathlib.Path) -> Address:
    until = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < until and child.poll() is None:
        with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
            told = json.loads(ready.read_text())
            return Address(parse(told["listen"][0]), parse(told["http"]), child.pid)
        # Nothing tells that a file is there; the wait for the child's end paces the asking.
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(0.02)
    raise SystemExit("the broker did not start")


def parse(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)


def peak_mib(pid: int) -> int:
    with open(f"/proc/{pid}/status") as file:
        line = next((line for line in file if line.startswith("VmHWM:")), "VmHWM: 0")
    return int(line.split()[1]) >> 10


def play(row: Row, address: Address, cores: Cores, scale: float, pipe: Pipe) -> None:
    # An attacker has a machine of its own. Here it has what the good client leaves of this core.
    os.sched_setaffinity(0, {cores.others})
    os.nice(10)
    siege = Siege(address.binary, address.http, scale, pipe)
    try:
        said = row.attack(siege)
    except (Lost, OSError) as error:
        # It was thrown out, which is well; the others' figures tell what it did before.
        said = None
        if os.environ.get("HOSTILE_TRACE"):
            print(f"      {row.name}: {error!r}", file=sys.stderr)
    with contextlib.suppress(OSError):
        pipe.send(("over", said or "", siege.told))


def measure(sluice: str, row: Row, cores: Cores, short: bool) -> Result:
    with broker(sluice, cores, row) as (address, child):
        made = row.before(address) if row.before else None
        client = GoodClient(address.binary, cores.others)
        # The first events tell of a start, not of a rate.
        time.sleep(0.3)
        client.mark()
        time.sleep(IDLE_SECONDS)
        idle = client.report()
        ours, theirs = multiprocessing.Pipe()
        scale = SHORT_SCALE if short else 1
        attacker = multiprocessing.Process(
            target=play, args=(row, address, cores, scale, theirs), daemon=True
        )
        attacker.start()
        theirs.close()
        result = Result(row, idle, idle, 0)
        try:
            watch(row, address, client, ours, made, result, short)
        except (Lost, OSError, EOFError) as error:
            result.misses.append(f"{error}" or f"{error!r}")
        finally:
            attacker.kill()
            attacker.join()
            client.end()
        if child.poll() is not None:
            code = child.returncode
            name = signal.Signals(-code).name if code < 0 else f"code {code}"
            result.misses.insert(0, f"the broker ended with {name}")
        else:
            result.memory = peak_mib(address.pid)
    if result.memory > row.memory:
        result.misses.append(f"memory above {row.memory} MiB")
    if not short:
        result.hold_times()
    return result


def watch(
    row: Row, address: Address, client: GoodClient, pipe: Pipe, made: object, result: Result,
    short: bool,
) -> None:
    if pipe.poll(READY_SECONDS_MAX) and pipe.recv() == "ready":
        seconds = row.seconds / 2 if short and not row.http else row.seconds
        grace = row.grace
        pipe.send(seconds + grace)
        time.sleep(grace)
        client.mark()
        began = time.monotonic()
        if row.during:
            time.sleep(seconds / 2)
            if wrong := row.during(address, short):
                result.misses.append(wrong)
        time.sleep(max(0, seconds - (time.monotonic() - began)))
        result.report = client.report()
        if pipe.poll(2):
            _, wrong, result.told = pipe.recv()
            result.misses += [wrong] if wrong else []
    else:
        result.misses.append("the attack did not get ready")
        result.report = client.report()
    if row.after and (wrong := row.after(address, made)):
        result.misses.append(wrong)
    if result.report.failure:
        result.misses.append(f"the good client: {result.report.failure}")
    elif not result.report.delivered:
        result.misses.append("nothing came to the good client")


def median(results: list[Result]) -> Result:
    """The one in the middle by p99: what holds is to hold more often than not."""
    ordered = sorted(results, key=lambda result: (len(result.misses), result.report.p99))
    return ordered[len(ordered) // 2]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sluice", help="the program, built for release")
    parser.add_argument("--short", action="store_true", help="fewer of all, once, and no times")
    parser.add_argument(
        "--only", action="append", metavar="NAME", default=[],
        help="rows whose names begin so; repeat it",
    )
    return parser.parse_args()


def main() -> int:
    # The attackers share nothing with this process, and need not import it all again.
    multiprocessing.set_start_method("fork")
    options, cores = arguments(), Cores()
    results = []
    began = time.monotonic()
    print(HEAD, flush=True)
    for row in ROWS:
        if options.only and not any(row.name.startswith(name) for name in options.only):
            continue
        tries = [measure(options.sluice, row, cores, options.short)]
        # One that is well is; of one that is not, the middle of several tells.
        while (
            tries[0].misses and len(tries) < (SHORT_REPEATS if options.short else REPEATS)
            and (options.only or time.monotonic() - began < REPEATING_SECONDS_MAX)
        ):
            tries.append(measure(options.sluice, row, cores, options.short))
        results.append(median(tries))
        print(results[-1].line(), flush=True)
    missed = sum(bool(result.misses) for result in results)
    print(
        f"{len(results) - missed} ok, {missed} missed, in {time.monotonic() - began:.0f} s; "
        f"held: p99 {P99_SECONDS_MAX * 1_000:.0f} ms, rate {RATE_SHARE_MIN:.0%}, "
        f"memory {MEMORY_LIMIT_MIB} MiB"
    )
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
