#!/usr/bin/env python3
"""Measures Sluice beside its anchors, interleaved; README.md beside this file tells how to read it.

It installs nats-server beside the build, starts every broker on a free port of 127.0.0.1, and ends
what it started, also when it is interrupted.
"""
import argparse
import datetime
import os
import pathlib
import platform
import shlex
import signal
import subprocess
import sys

from suite import cells, goals, measure, peers, plot, processes, report

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split(";")[0])
    parser.add_argument(
        "--sluice", action="append", metavar="PATH",
        help="the binary; repeat it to compare several in one run (.build-static/release/sluice)",
    )
    parser.add_argument(
        "--only", metavar="GROUPS", help=f"with commas, of: {', '.join(cells.GROUPS)}"
    )
    parser.add_argument("--quick", action="store_true", help="fewer cells, 3 short repetitions")
    parser.add_argument("--repetitions", type=int, metavar="N", help="5, or 3 with --quick")
    parser.add_argument("--seconds", type=float, metavar="S", help="2, or 0.5 with --quick")
    parser.add_argument(
        "--against", metavar="PEERS", help="anchors to run, with commas; none: Sluice alone"
    )
    parser.add_argument(
        "--serve", metavar="FLAGS", default="", help="more flags for every `sluice serve`"
    )
    parser.add_argument(
        "--output", metavar="DIRECTORY", type=pathlib.Path,
        help="write report.md, report.json and plot.svg there (a full run: Benchmarks/results; "
        "else the report is printed)",
    )
    options = parser.parse_args()
    options.repetitions = options.repetitions or (3 if options.quick else 5)
    options.seconds = options.seconds or (0.5 if options.quick else 2)
    options.only = options.only.split(",") if options.only else []
    if not (options.only or options.quick or options.against or options.serve):
        options.output = options.output or HERE / "results"
    unknown = [name for name in options.only if name not in cells.GROUPS]
    if unknown:
        parser.error(f"no such group: {', '.join(unknown)}")
    return options


def first_line(command):
    try:
        run = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
        return run.stdout.strip().splitlines()[0]
    except (OSError, subprocess.SubprocessError, IndexError):
        return "unknown"


def processor():
    with open("/proc/cpuinfo") as lines:
        for line in lines:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.machine()


def congestion_control():
    """What the system gives a connection that asks for none."""
    try:
        return pathlib.Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip()
    except OSError:
        return "unknown"


def about(options, there):
    commit = first_line(["git", "rev-parse", "--short=10", "HEAD"])
    if first_line(["git", "status", "--porcelain", "-uno"]) != "unknown":
        commit += " and changes"
    return {
        "date": datetime.date.today().isoformat(),
        "commit": commit,
        "cores": os.cpu_count(),
        "cpu": processor(),
        "system": f"{platform.system()} {platform.release()}",
        "congestion_control": congestion_control(),
        "repetitions": options.repetitions,
        "seconds": options.seconds,
        "repeat": repeat(options),
        "peers": [version(peer) for peer in there.values() if not peer.name.startswith("sluice")],
    }


def repeat(options):
    command = "make bench-quick" if options.quick else "make bench"
    return f"{command} BENCH_FLAGS='--only {','.join(options.only)}'" if options.only else command


def version(peer):
    if peer.name == "nats":
        return first_line([peer.executable, "--version"]).replace(": ", " ")
    if peer.name == "redis":
        words = first_line([peer.executable, "--version"]).split()
        return "redis-server " + next(w[2:] for w in words if w.startswith("v="))
    names = {"cbroker": "C broker", "cbroker-unpaced": "C broker, unpaced", "relay": "C relay"}
    return names[peer.name]


def main():
    options = arguments()
    # So that every `finally` runs.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    processes.build()
    processes.raise_descriptors()
    peers.install_nats()
    binaries = options.sluice or [ROOT / ".build-static/release/sluice"]
    there, missing = peers.find(binaries, shlex.split(options.serve))
    if options.against is not None:
        kept = options.against.split(",")
        there = {k: v for k, v in there.items() if k.startswith("sluice") or k in kept}
    results = measure.Results()
    for sentence in missing:
        results.note(sentence)
    groups = measure.leave_out(cells.chosen(options.only, options.quick), there, results)
    measure.run(groups, there, options.repetitions, options.seconds, results)
    meta = {**about(options, there), "others_cores": results.others()}
    verdicts = goals.verdicts(
        results, with_unmeasured=not options.only and not options.quick
    )
    text = report.markdown(results, groups, there, verdicts, meta)
    if not options.output:
        print(text)
        return
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "report.md").write_text(text)
    (options.output / "report.json").write_text(
        report.document(results, groups, there, verdicts, meta)
    )
    if picture := plot.svg(results, meta):
        (options.output / "plot.svg").write_text(picture)
    print(f"{options.output}/report.md", file=sys.stderr)


if __name__ == "__main__":
    main()
