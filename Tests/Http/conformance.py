#!/usr/bin/env python3
"""Asks an HTTP server, case by case, what the RFCs demand of it; README.md tells more.

  conformance.py HOST:PORT
  conformance.py -- sluice serve --listen 127.0.0.1:0 --http 127.0.0.1:0 --ready-file {ready}
"""

from __future__ import annotations

import argparse
import sys

import compression_cases
import connection_cases
import frame_cases
import message_cases
import plain_cases
import server
import stream_cases
import upgrade_cases
import window_cases
from demands import Case, NotApplicable, Unmet
from wire import Connection, Late, Lost, Violation

TABLES = [
    connection_cases.TABLE, stream_cases.TABLE, frame_cases.TABLE, window_cases.TABLE,
    message_cases.TABLE, compression_cases.TABLE, plain_cases.TABLE,
    upgrade_cases.TABLE,
]
CASES: list[Case] = [case for table in TABLES for case in table.cases]


def arguments() -> argparse.Namespace:
    parser = server.parser(__doc__)
    parser.add_argument("--case", action="append", metavar="NAME", help="only this one; repeat it")
    parser.add_argument(
        "--rfc", action="append", choices=["9113", "7541", "9112", "7540"],
        help="only this one; repeat it",
    )
    parser.add_argument("--list", action="store_true", help="print the cases and what they demand")
    parser.add_argument(
        "--deadline", type=float, default=5, metavar="S", help="for each answer; 5"
    )
    options = server.parse(parser)
    unknown = set(options.case or []) - {case.name for case in CASES}
    if unknown:
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    return options


def chosen(options: argparse.Namespace) -> list[Case]:
    return [
        case for case in CASES
        if not options.case or case.name in options.case
        if not options.rfc or case.section.split()[0] in options.rfc
    ]


def play(case: Case, options: argparse.Namespace) -> str | None:
    """What is wrong, or None."""
    c = case.connect(options.address, options.deadline, options.path, options.post)
    try:
        if not case.bare:
            c.shake_hands()
        case.run(c)
        case.demand.hold(c)
    except Unmet as unmet:
        return account(str(unmet), c)
    except Violation as violation:
        return account(f"the server sent {violation}", c)
    except Late as late:
        return account(str(late) or f"nothing more came in {options.deadline:g} s", c)
    except Lost:
        return account("it was closed too early", c)
    finally:
        c.close()
    return None


def account(what: str, c: Connection) -> str:
    return f"{what}; came: {', '.join(c.story[-8:]) or 'nothing'}"


def main() -> int:
    options = arguments()
    cases = chosen(options)
    if options.list:
        for case in cases:
            print(f"{case.section:<12} {case.name:<32} {case.sent}: {case.demand.text}")
        return 0
    missed, left_out = 0, 0
    with server.running(options):
        for case in cases:
            try:
                wrong = play(case, options)
            except NotApplicable as reason:
                left_out += 1
                print(f"n/a   {case.section:<12} {case.name}: {reason}", flush=True)
                continue
            missed += wrong is not None
            word = "ok" if wrong is None else "FAIL"
            print(f"{word:<5} {case.section:<12} {case.name}: {case.sent}", flush=True)
            if wrong is not None:
                print(f"      wanted: {case.demand.text}\n      {wrong}", flush=True)
    print(f"{len(cases) - missed - left_out} ok, {missed} failed, {left_out} not applicable")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
