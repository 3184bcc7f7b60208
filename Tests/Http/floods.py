#!/usr/bin/env python3
"""Attacks a server and looks how it and its good clients fare; README.md tells more.

  floods.py 127.0.0.1:7480 --pid 1234
  floods.py -- sluice serve --listen 127.0.0.1:0 --http 127.0.0.1:{port}

Held: every attacker is cut in time, the memory of the server grows by less than 32 MiB, and a good
client keeps half its rate or more; the last is told and not held with --any-rate.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe

import server
from attacks import ATTACKS, Attack, Outcome, Siege, Target
from wire import Connection, Late, Lost, Violation

GROWTH_MAX_BYTES = 32 << 20
RATE_SHARE_MIN = 0.5
# The machine may have had something else to do; who starves the client does so every time.
RATE_ATTEMPTS = 3
BASELINE_SECONDS = 1.0
# Attackers that are cut come again for so long.
SIEGE_SECONDS = 2.0
# A good client changes its connection now and then: that it gets a new one is part of the proof.
REQUESTS_PER_CONNECTION = 200


class GoodClient:
    """A process that asks one thing after the other."""

    def __init__(self, target: Target):
        self.answered = multiprocessing.Value("Q", 0)
        self.failed = multiprocessing.Value("Q", 0)
        self.process = multiprocessing.Process(target=self._ask, args=(target,), daemon=True)

    def __enter__(self) -> GoodClient:
        self.process.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.join()

    def _ask(self, target: Target) -> None:
        while True:
            try:
                self._ask_on_one_connection(target)
            except (OSError, Late, Lost, Violation) as error:
                print(f"      a good client: {error!r}", file=sys.stderr)
                self.failed.value += 1

    def _ask_on_one_connection(self, target: Target) -> None:
        c = Connection(target.address, path=target.path)
        try:
            c.shake_hands()
            for stream in range(1, 2 * REQUESTS_PER_CONNECTION, 2):
                c.send(c.headers(stream, c.get()))
                c.wait(lambda: c.answer(stream).ended or stream in c.resets or c.goaway)
                if c.answer(stream).status != "200":
                    raise Violation(f"{c.answer(stream).status}, {c.story[-1]}")
                self.answered.value += 1
        finally:
            c.close()


class Rate:
    """Answers a second to the good client, from now on."""

    def __init__(self, client: GoodClient):
        self.client = client
        self.since, self.before = time.monotonic(), client.answered.value

    def __call__(self) -> float:
        count = self.client.answered.value - self.before
        return count / (time.monotonic() - self.since)


class Memory:
    """How far a process grew beyond what it is now."""

    def __init__(self, pid: int | None):
        self.pid = pid
        if pid is not None:
            # Sets the peak back to what is resident now.
            with open(f"/proc/{pid}/clear_refs", "w") as file:
                file.write("5")
            self.before = self._peak()

    def _peak(self) -> int:
        with open(f"/proc/{self.pid}/status") as file:
            line = next(line for line in file if line.startswith("VmHWM:"))
        return int(line.split()[1]) << 10

    def growth(self) -> int | None:
        return None if self.pid is None else self._peak() - self.before


@dataclass
class Result:
    attack: Attack
    outcome: Outcome
    growth: int | None
    rate_before: float
    rate: float
    failed: int
    any_rate: bool

    @property
    def starves(self) -> bool:
        return not self.any_rate and self.rate < RATE_SHARE_MIN * self.rate_before

    @property
    def misses(self) -> list[str]:
        misses = []
        if self.outcome.uncut:
            misses.append(f"{self.outcome.uncut} of {self.attack.connections} were never cut")
        elif max(self.outcome.cuts, default=0) > self.attack.within:
            misses.append(f"cut after more than {self.attack.within:g} s")
        if self.growth is not None and self.growth > GROWTH_MAX_BYTES:
            misses.append(f"memory grew by more than {GROWTH_MAX_BYTES >> 20} MiB")
        if self.starves:
            misses.append("the good client lost more than half its rate")
        if self.failed:
            misses.append(f"the good client failed {self.failed} times")
        return misses

    def row(self) -> str:
        cut = "never" if self.outcome.uncut else f"{max(self.outcome.cuts, default=0):.2f} s"
        growth = "-" if self.growth is None else f"{self.growth / (1 << 20):.1f} MiB"
        share = 100 * self.rate / self.rate_before if self.rate_before else 0
        return (
            f"{self.attack.name:<20}{cut:>8}{len(self.outcome.cuts):>7}{growth:>11}"
            f"{self.rate_before:>9.0f}{self.rate:>9.0f}{share:>6.0f} %  "
            f"{'; '.join(self.misses) or 'ok'}"
        )


HEAD = (
    f"{'attack':<20}{'cut in':>8}{'times':>7}{'memory':>11}{'rate/s':>9}{'during':>9}{'':>8}"
)


def besiege(attack: Attack, target: Target, pipe: Pipe) -> None:
    # An attacker has a machine of its own. Here it has what the server and its client leave.
    os.nice(10)
    # A slow attacker is not in a hurry to come again.
    seconds = SIEGE_SECONDS if attack.within <= SIEGE_SECONDS else 0
    pipe.send(Siege(attack, target, seconds).run())


def measure(attack: Attack, target: Target, options: argparse.Namespace) -> Result:
    with GoodClient(target) as client:
        ours, theirs = multiprocessing.Pipe()
        # The first answers tell of a start, not of a rate.
        while client.answered.value < REQUESTS_PER_CONNECTION and not client.failed.value:
            time.sleep(0.02)
        rate = Rate(client)
        time.sleep(BASELINE_SECONDS)
        rate_before, failed = rate(), client.failed.value
        memory, rate = Memory(options.pid), Rate(client)
        attacker = multiprocessing.Process(target=besiege, args=(attack, target, theirs))
        attacker.start()
        time.sleep(SIEGE_SECONDS)
        during = rate()
        outcome = ours.recv()
        attacker.join()
        return Result(
            attack, outcome, memory.growth(), rate_before, during, client.failed.value - failed,
            options.any_rate,
        )


def arguments() -> argparse.Namespace:
    parser = server.parser(__doc__)
    parser.add_argument(
        "--attack", action="append", metavar="NAME", help="only this one; repeat it",
        choices=[attack.name for attack in ATTACKS],
    )
    parser.add_argument(
        "--any-rate", action="store_true",
        help="where attackers, server and client share a few cores, their scheduler decides it",
    )
    return server.parse(parser)


def main() -> int:
    # The attackers share nothing with this process, and need not import it all again.
    multiprocessing.set_start_method("fork")
    options = arguments()
    results = []
    with server.running(options):
        target = Target(options.address, options.path, options.post)
        print(HEAD, flush=True)
        for attack in ATTACKS:
            if options.attack and attack.name not in options.attack:
                continue
            for _ in range(RATE_ATTEMPTS):
                result = measure(attack, target, options)
                if len(result.misses) > 1 or not result.starves:
                    break
            results.append(result)
            print(results[-1].row(), flush=True)
    missed = sum(bool(result.misses) for result in results)
    print(f"{len(results) - missed} ok, {missed} missed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
