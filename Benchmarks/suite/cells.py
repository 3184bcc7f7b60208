"""What is measured: groups of cells, each one load on fresh brokers."""
import dataclasses
import enum

SIZES = (16, 128, 1024, 16384)
MILLION = 1_000_000
# A stalled or idle client answers no PING.
SILENT = ("--keepalive", "1h")


class Kind(enum.Enum):
    """Whose load it is, and what its figures are about."""

    LOAD = "load"
    LATENCY = "latency"
    IDLE = "idle"
    CLIENT = "client"
    MAKESPAN = "makespan"


@dataclasses.dataclass(frozen=True)
class Cell:
    """One load, in the letters of our generator and, where it has a counterpart, the anchors'."""

    group: str
    name: str
    flags: dict
    anchor: dict = dataclasses.field(default_factory=dict)
    # Beside Sluice.
    peers: tuple = ()
    serve: tuple = ()
    kind: Kind = Kind.LOAD
    # The core that broker and generator share; None: wherever they want.
    core: int | None = None
    # A flag of `sluice serve` without which the cell means nothing.
    needs: str | None = None
    is_quick: bool = False

    @property
    def key(self):
        return f"{self.group}: {self.name}"


def throughput():
    for size in SIZES:
        yield Cell(
            "throughput", f"{size} B, 1→1", {"s": size}, {"s": size},
            ("cbroker", "cbroker-unpaced", "relay", "nats", "redis"), is_quick=True,
        )
    for size in SIZES:
        # Redis has no groups in its pub/sub, and the relay has one consumer.
        yield Cell(
            "throughput", f"{size} B, 1→4 shared", {"s": size, "f": 4}, {"s": size, "f": 4},
            ("cbroker", "cbroker-unpaced", "nats"), is_quick=size == 128,
        )
    for size in SIZES:
        yield Cell(
            "throughput", f"{size} B, 1→4 broadcast", {"s": size, "f": 4, "B": True},
            {"s": size, "f": 4, "m": "bcast"}, ("cbroker", "nats"), is_quick=size == 128,
        )


def windows():
    for window in (100, 1_000, 10_000):
        flags = {"s": 128, "b": window}
        yield Cell(
            "windows", f"window {window:,}", flags, flags, ("cbroker",), is_quick=window > 100
        )


def batches():
    for count in (1, 10, 100, 0):
        name = f"{count} a frame" if count else "full frames"
        flags = {"s": 128, "e": count}
        yield Cell("batches", name, flags, flags, ("cbroker",), is_quick=count == 1)


def latency():
    everyone = ("cbroker", "relay", "nats", "redis")
    flags = {"s": 16, "R": 10_000}
    yield Cell(
        "latency", "10,000 single events/s", flags, flags, everyone, kind=Kind.LATENCY,
        is_quick=True,
    )
    # Rounds for each second that a cell may take.
    flags = {"s": 16, "X": 10_000}
    yield Cell(
        "latency", "ping-pong on one core", flags, flags, everyone, kind=Kind.LATENCY, core=0,
        is_quick=True,
    )


def idle():
    for count in (1_000, 10_000):
        for name, more, serve in (
            ("bare", {"i": "bare"}, ()),
            ("a link", {"i": "linked"}, ("--resume-window", "0s")),
            ("a link, resumable", {"i": "linked"}, ()),
        ):
            # NATS' idle connection has a subscription.
            with_nats = name == "a link"
            yield Cell(
                "idle", f"{count:,} idle ({name}) + 100 active",
                {"s": 128, "f": 100, "I": count, **more}, {"s": 128, "f": 100, "I": count},
                ("nats",) if with_nats else (), (*SILENT, *serve), Kind.IDLE,
                is_quick=count == 1_000,
            )


# Full frames (64 KiB), half a window each. On one topic the broker joins what comes together, up to
# the window; with smaller frames that would be the difference between one topic and many, and not
# the topics. With larger ones each delivery of a narrow write window would cut one.
SPREAD_OUT = {"s": 128, "e": 490, "b": 1_000}


def topics():
    for count in (1, 100, 10_000):
        yield Cell(
            "topics", f"{count:,} topics" if count > 1 else "1 topic",
            {**SPREAD_OUT, "T": count, "S": 1, "c": 1},
            is_quick=count != 100,
        )


def consumers():
    for count in (1, 10, 100, 1_000):
        yield Cell(
            "consumers", f"{count:,} consumers" if count > 1 else "1 consumer",
            {**SPREAD_OUT, "f": count, "c": 10},
            is_quick=count in (10, 1_000),
        )


def stalled():
    for name, flags, anchor in (
        ("3 that read", {"f": 3}, {"f": 3}),
        ("the same and 1 stalled without credit", {"f": 4, "Z": 1}, {"f": 4, "Z": 1}),
        ("the same and 1 stalled with a million", {"f": 4, "Z": 1, "z": MILLION}, None),
        ("1 that reads", {"f": 1}, None),
        (
            "the same and 100 stalled with a million",
            # The kernel's buffers of a hundred sockets are full only after a while.
            {"f": 101, "Z": 100, "z": MILLION, "w": 3}, None,
        ),
    ):
        yield Cell(
            "stalled", name, {"s": 1024, **flags}, {"s": 1024, **(anchor or {})},
            ("cbroker",) if anchor else (), SILENT, is_quick=flags["f"] in (3, 4),
        )


LAGS = ("drop-oldest", "drop-newest", "detach")


def lagging():
    yield Cell("lagging", "4 that read", {"s": 1024, "f": 4, "L": 0}, serve=SILENT)
    for number, lag in enumerate(LAGS, start=1):
        yield Cell(
            "lagging", f"the same and 1 stalled with {lag}",
            {"s": 1024, "f": 5, "Z": 1, "z": MILLION, "L": number}, serve=SILENT,
        )


# Workers that take one job at a time, asked for when the last is done; one of them is slow.
WORKERS, FAST_US, SLOW_US = 4, 5_000, 25_000


def makespan():
    flags = {"s": 16, "f": WORKERS, "j": FAST_US, "k": SLOW_US}
    for count in (1_000, 10_000):
        yield Cell(
            "makespan", f"{count:,} jobs", {**flags, "J": count}, kind=Kind.MAKESPAN,
            is_quick=count == 1_000,
        )


def services(cell):
    """Seconds that a job takes each worker of the cell."""
    fast, slow = (cell.flags[letter] / MILLION for letter in "jk")
    return [slow] + [fast] * (cell.flags["f"] - 1)


def shard_of(topic, count):
    """Where a broker of this many shards keeps a topic, as `Sources/SluiceEngine/Place.swift`."""
    code = 0xCBF29CE484222325
    for byte in topic.encode():
        code = (code ^ byte) * 0x100000001B3 % 2**64
    return (code ^ code >> 32) % count


def topic_on(shard):
    """A topic that a broker of two shards keeps on this one."""
    names = (f"home.{index}" for index in range(100))
    return next(name for name in names if shard_of(name, 2) == shard)


def shards():
    flags = {"s": 128, "T": 8, "S": 8, "c": 8}
    for count in (1, 2):
        yield Cell(
            "shards", f"8 topics, {count} shard{'s' * (count > 1)}", flags,
            serve=("--shards", str(count)), needs="--shards",
        )
    own = shard_of("bench", 2)
    for name, consumers_home, producers_home in (
        ("one topic, all on its shard", own, own),
        ("one topic, its consumer on the other", 1 - own, own),
        ("one topic, its producer on the other", own, 1 - own),
    ):
        yield Cell(
            "shards", name,
            {"s": 128, "t": "bench", "H": topic_on(consumers_home), "G": topic_on(producers_home)},
            serve=("--shards", "2"), needs="--shards",
        )


def client():
    yield Cell("client", "C generator, decoding", {"s": 128, "D": True}, is_quick=True)
    yield Cell("client", "sluice bench pipeline", {"s": 128}, kind=Kind.CLIENT, is_quick=True)


GROUPS = {
    "throughput": throughput,
    "windows": windows,
    "batches": batches,
    "latency": latency,
    "idle": idle,
    "topics": topics,
    "consumers": consumers,
    "stalled": stalled,
    "lagging": lagging,
    "shards": shards,
    "client": client,
    "makespan": makespan,
}

# Left out of a quick run: it says least.
SLOW_PEERS = ("relay",)


def quick(cell):
    peers = tuple(name for name in cell.peers if name not in SLOW_PEERS)
    return dataclasses.replace(cell, peers=peers)


def chosen(only, is_quick):
    """The cells of the groups named, by group; all groups if none is."""
    groups = {}
    for name in only or GROUPS:
        found = [quick(cell) if is_quick else cell for cell in GROUPS[name]()]
        found = [cell for cell in found if cell.is_quick or not is_quick]
        if found:
            groups[name] = found
    return groups
