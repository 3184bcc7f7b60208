"""What is measured: groups of cells, each one load on fresh brokers."""
import dataclasses

SIZES = (16, 128, 1024, 16384)
BROKERS = ("sluice", "cbroker", "relay", "nats", "redis")


@dataclasses.dataclass(frozen=True)
class Cell:
    """One load, in the letters of our generator and, where it has a counterpart, the anchors'."""

    group: str
    name: str
    flags: dict
    anchor: dict = dataclasses.field(default_factory=dict)
    peers: tuple = ("sluice",)
    serve: tuple = ()
    # The core that broker and generator share; None: wherever they want.
    core: int | None = None
    is_quick: bool = False


def throughput():
    for size in SIZES:
        yield Cell(
            "throughput", f"{size} B, 1→1", {"s": size}, {"s": size}, BROKERS, is_quick=True
        )
    for size in SIZES:
        yield Cell(
            "throughput", f"{size} B, 1→4 shared", {"s": size, "f": 4}, {"s": size, "f": 4},
            # Redis has no groups in its pub/sub, the relay one consumer.
            ("sluice", "cbroker", "nats"), is_quick=size == 128,
        )


def all_cells():
    return [*throughput()]
