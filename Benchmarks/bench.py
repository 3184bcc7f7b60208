#!/usr/bin/env python3
"""Measures the broker beside the C re-framing broker, and its memory; prints Markdown.

Figures are medians with [least-most] of interleaved repetitions. Compare only within one run,
and quote ratios: the machine under it is never quiet. Every process listens on 127.0.0.1 and
ends with the run.
"""
import argparse
import contextlib
import json
import os
import re
import resource
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
WORK = tempfile.mkdtemp(prefix="sluice-bench-")


def build():
    """Compiles the generator and the anchors."""
    compiler = shutil.which("cc") or shutil.which("clang") or sys.exit("no C compiler")
    for name in ("generator.c", "anchors/cbroker.c", "anchors/lg.c"):
        out = os.path.join(WORK, os.path.basename(name)[:-2])
        subprocess.run(
            [compiler, "-O2", "-w", "-o", out, os.path.join(HERE, name), "-lpthread"], check=True
        )


def tool(name):
    return os.path.join(WORK, name)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@contextlib.contextmanager
def running(command, port):
    """Runs a broker until it answers on its port, and ends it after."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            if time.monotonic() > deadline:
                raise SystemExit(f"{command[0]} does not answer on port {port}")
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def memory(pid, key="VmRSS"):
    with open(f"/proc/{pid}/status") as lines:
        for line in lines:
            if line.startswith(key):
                return int(line.split()[1])
    return 0


def sluice(options, port, *more):
    return [options.sluice, "serve", "--listen", f"127.0.0.1:{port}", *more]


def generate(port, pid, **flags):
    """One run of the load generator: its figures."""
    command = [tool("generator"), "-p", str(port), "-P", str(pid)]
    for flag, value in flags.items():
        command += [f"-{flag}", str(value)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if run.returncode not in (0, 1) or not run.stdout:
        raise SystemExit(f"generator failed: {run.stderr}")
    return json.loads(run.stdout)


def anchor(size, consumers, seconds):
    """One run of the C re-framing broker under its own generator."""
    port = free_port()
    process = subprocess.Popen([tool("cbroker"), str(port)])
    try:
        time.sleep(0.3)
        command = [
            tool("lg"), "-t", "frame", "-p", str(port), "-s", str(size), "-f", str(consumers),
            "-m", "shared", "-P", str(process.pid), "-d", str(seconds),
        ]
        text = subprocess.run(command, capture_output=True, text=True, timeout=60).stdout
    finally:
        process.kill()
        process.wait()
    return {
        "delivered_per_s": float(re.search(r"del/s=([\d.]+)", text).group(1)),
        "cpu_s_per_million": float(re.search(r"cpu_per_Mdel=([\d.]+)", text).group(1)),
    }


def ours(options, size, consumers, seconds):
    port = free_port()
    with running(sluice(options, port), port) as pid:
        return generate(port, pid, s=size, f=consumers, d=seconds)


def pipeline(options, size, seconds):
    """What a user sees: `sluice bench pipeline` through the client library."""
    port = free_port()
    with running(sluice(options, port), port):
        command = [
            options.sluice, "bench", "pipeline", "--server", f"127.0.0.1:{port}", "--size",
            str(size), "--duration", f"{seconds:g}s", "--json", "--no-progress",
        ]
        text = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
    return json.loads(text)


def spread(values, form="{:.3f}"):
    middle, least, most = statistics.median(values), min(values), max(values)
    return f"{form} [{form}–{form}]".format(middle, least, most)


def speed(options):
    print("## Speed, one producer\n")
    print("| size | consumers | Sluice M ev/s | C broker M ev/s | Sluice CPU s/M "
          "| C broker CPU s/M | CPU ratio |")
    print("|---|---|---|---|---|---|---|")
    for size, consumers in options.cells:
        mine, theirs = [], []
        for _ in range(options.repetitions):
            theirs.append(anchor(size, consumers, options.seconds))
            mine.append(ours(options, size, consumers, options.seconds))
        rate = [run["delivered_per_s"] / 1e6 for run in mine]
        other = [run["delivered_per_s"] / 1e6 for run in theirs]
        cpu = [run["cpu_s_per_million"] for run in mine]
        reference = [run["cpu_s_per_million"] for run in theirs]
        ratio = statistics.median(cpu) / max(statistics.median(reference), 1e-9)
        print(f"| {size} B | {consumers} | {spread(rate)} | {spread(other)} "
              f"| {spread(cpu)} | {spread(reference)} | {ratio:.2f} |", flush=True)
    print()


def library(options):
    print("## `sluice bench pipeline`, 128 B, 1 → 1 through the client library\n")
    runs = [pipeline(options, 128, options.seconds) for _ in range(options.repetitions)]
    for key in sorted(runs[0]):
        values = [run[key] for run in runs]
        if all(isinstance(value, (int, float)) for value in values):
            print(f"- {key}: {spread(values, '{:,.3f}')}")
    print()


def no_demand(options):
    """Four producers offering without end, a consumer that never asks."""
    port = free_port()
    # The consumer does not read, so it could not answer a PING either.
    with running(sluice(options, port, "--keepalive", "1h"), port) as pid:
        before = memory(pid)
        load = [
            subprocess.Popen(
                [tool("generator"), "-p", str(port), "-s", "1024", "-f", "1", "-Z", "1", "-b",
                 "0", "-d", str(options.stall_seconds)],
                stdout=subprocess.DEVNULL,
            )
            for _ in range(4)
        ]
        for process in load:
            process.wait()
        grown = memory(pid, "VmHWM") - before
    print("## Memory\n")
    print(f"- 10,000 × 1 KiB topic, 4 producers, nobody asks for {options.stall_seconds} s: "
          f"RSS grew by {grown / 1024:.1f} MiB at most (the buffer is 9.8 MiB of payload)")


def never_reading(options):
    """A hundred consumers with a million credits each that never read, and one that reads."""
    rates, stalled, grown = [], [], []
    for _ in range(max(3, options.repetitions)):
        port = free_port()
        with running(sluice(options, port), port) as pid:
            run = generate(port, pid, s=1024, f=1, b=1_000_000, d=options.seconds)
            rates.append(run["delivered_per_s"] / 1e6)
        port = free_port()
        with running(sluice(options, port), port) as pid:
            before = memory(pid)
            run = generate(
                port, pid, s=1024, f=101, Z=100, b=1_000_000, d=options.seconds, w=2
            )
            stalled.append(run["delivered_per_s"] / 1e6)
            grown.append((memory(pid, "VmHWM") - before) / 1024)
    print(f"- a reading consumer alone: {spread(rates, '{:.2f}')} M ev/s; beside 100 that hold a "
          f"million credits each and never read: {spread(stalled, '{:.2f}')} M ev/s, "
          f"RSS grew by {max(grown):.1f} MiB at most")


def frame(kind, body, link=0):
    return struct.pack(">I", len(body))[1:] + bytes([kind, 0]) + struct.pack(">I", link) + body


def idle(options):
    """Many connections, each with one open link, that say nothing."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(options.connections, hard - 200)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    hello = struct.pack(">IBBHII", 0x534C4345, 1, 1, 3600, 0, 1 << 20) + bytes(4) + b"\x04idle"
    opening = bytes([0, 4]) + b"idle"
    port = free_port()
    with running(sluice(options, port, "--keepalive", "1h"), port) as pid:
        before = memory(pid)
        sockets = []
        for _ in range(count):
            s = socket.create_connection(("127.0.0.1", port))
            s.sendall(frame(1, hello) + frame(4, opening, 1))
            sockets.append(s)
        for s in sockets:
            s.recv(4096)
        time.sleep(1)
        grown = memory(pid) - before
        for s in sockets:
            s.close()
    print(f"- {count:,} idle connections with one link each: {grown / count:.2f} KiB RSS each")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sluice", default=".build/release/sluice")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--stall-seconds", type=int, default=60)
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--quick", action="store_true", help="one size, short runs")
    options = parser.parse_args()
    options.sluice = os.path.abspath(options.sluice)
    options.cells = [(128, 1)] if options.quick else [
        (16, 1), (128, 1), (1024, 1), (16384, 1), (128, 4),
    ]
    if options.quick:
        options.repetitions, options.stall_seconds = 3, 5
    build()
    print(f"# Sluice beside the C re-framing broker, {time.strftime('%Y-%m-%d')}, "
          f"{os.cpu_count()} cores\n")
    speed(options)
    library(options)
    no_demand(options)
    never_reading(options)
    idle(options)


if __name__ == "__main__":
    sys.exit(main())
