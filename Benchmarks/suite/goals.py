"""The goals that the project set itself, and whether a run met them."""
import dataclasses

from .cells import FAST_US, LAGS, SIZES, SLOW_US, WORKERS

CPU, RATE = "cpu_s_per_million", "delivered_per_s"


@dataclasses.dataclass(frozen=True)
class Verdict:
    """One goal: what was found, as a number and as text, and the bound it has to keep to."""

    goal: str
    found: float | None
    text: str
    bound: float
    is_least: bool = False

    @property
    def word(self):
        if self.found is None:
            return "not measured"
        kept = self.found >= self.bound if self.is_least else self.found <= self.bound
        return "met" if kept else "NOT MET"

    @property
    def sign(self):
        return f"{'≥' if self.is_least else '≤'} {self.bound:g}"


def of(goal, spread, bound, is_least=False, unit=""):
    if spread is None:
        return Verdict(goal, None, "–", bound, is_least)
    text = f"{spread.median:.2f}{unit} [{spread.least:.2f}–{spread.most:.2f}]"
    return Verdict(goal, spread.median, text, bound, is_least)


def against_c(results):
    for fan in ("1→1", "1→4 shared"):
        for size in SIZES:
            key = f"throughput: {size} B, {fan}"
            cpu = results.ratio(key, CPU, "cbroker")
            yield of(f"CPU per delivery ÷ C broker, {size} B, {fan}", cpu, 1.25)
    for fan in ("1→1", "1→4 shared"):
        for size in SIZES:
            key = f"throughput: {size} B, {fan}"
            rate = results.ratio(key, RATE, "cbroker")
            yield of(f"deliveries/s ÷ C broker, {size} B, {fan}", rate, 0.85, True)
    key = "throughput: 128 B, 1→4 broadcast"
    rate = results.ratio(key, RATE, "cbroker")
    yield of("deliveries/s ÷ C broker, 128 B, 1→4 broadcast", rate, 0.5, True)


def against_others(results):
    for peer in ("nats", "redis"):
        for size, bound in zip(SIZES, (15, 5, 1.8, 1.0)):
            rate = results.ratio(f"throughput: {size} B, 1→1", RATE, peer)
            yield of(f"deliveries/s ÷ {peer}, {size} B, 1→1", rate, bound, True)


def latency(results):
    paced, pinned = "latency: 10,000 single events/s", "latency: ping-pong on one core"
    for key, name in ((paced, "p50 at 10,000 events/s"), (pinned, "p50 of pinned ping-pong")):
        yield of(f"{name} ÷ C broker", results.ratio(key, "p50_us", "cbroker"), 1.3)
        yield of(f"{name} ÷ nats", results.ratio(key, "p50_us", "nats"), 1.0)
    cpu = results.ratio(paced, CPU, "cbroker")
    yield of("CPU per event at 10,000 single events/s ÷ C broker", cpu, 1.5)


def windows(results):
    small, large = "windows: window 1,000", "windows: window 10,000"
    ours = results.between(small, large, CPU)
    theirs = results.between(small, large, CPU, "cbroker")
    yield of("CPU per event, window 1,000 ÷ 10,000", ours, 1.35)
    found = ours.median / theirs.median if ours and theirs else None
    text = "–" if found is None else f"{found:.2f} ({ours.median:.2f} ÷ {theirs.median:.2f})"
    yield Verdict("the same ÷ the C broker's own ratio", found, text, 1.15)


def idle(results):
    for name, bound in (("bare", 2), ("a link, resumable", 3)):
        key = f"idle: 10,000 idle ({name}) + 100 active"
        each = results.spread(key, "idle_kib_each")
        yield of(f"KiB of RSS for each of 10,000 idle connections ({name})", each, bound)


def stalled(results):
    reads = "stalled: 3 that read"
    # The buffer of a topic is 10,000 events, here of 1 KiB and a head of 4 bytes.
    bound = 10_000 * (1024 + 4) / 2**20 + 16
    for name in ("without credit", "with a million"):
        key = f"stalled: the same and 1 stalled {name}"
        others = results.between(key, reads, RATE)
        yield of(f"rate of 3 beside 1 stalled {name} ÷ alone", others, 0.9, True)
        most = results.spread(key, "hwm_kib")
        found = most.most / 1024 if most else None
        start = results.spread(key, "start_rss_kib")
        text = "–"
        if found is not None:
            text = f"{found:.1f} MiB ({start.median / 1024:.1f} at the start)"
        yield Verdict(f"RSS with 1 stalled {name}: buffer + 16 MiB", found, text, round(bound, 1))


def lagging(results):
    reads = "lagging: 4 that read"
    for lag in LAGS:
        others = results.between(f"lagging: the same and 1 stalled with {lag}", reads, RATE)
        yield of(f"rate of 4 independent beside 1 stalled with {lag} ÷ alone", others, 0.95, True)


def scale(results):
    topics = results.between("topics: 10,000 topics", "topics: 1 topic", CPU)
    yield of("CPU per event, 10,000 topics ÷ 1", topics, 1.3)
    consumers = results.between("consumers: 1,000 consumers", "consumers: 10 consumers", CPU)
    yield of("CPU per event, 1,000 consumers ÷ 10", consumers, 1.3)
    for who in ("consumer", "producer"):
        across = f"shards: one topic, its {who} on the other"
        crossing = results.between(across, "shards: one topic, all on its shard", CPU)
        yield of(f"CPU per event, {who}'s link across shards ÷ within one", crossing, 1.5)


def client(results):
    rate = results.between(
        "client: sluice bench pipeline", "client: C generator, decoding", RATE
    )
    yield of("rate of `sluice bench pipeline` ÷ C generator, decoding", rate, 0.6, True)


def makespan(results):
    found = results.spread("makespan: 10,000 jobs", "over_ideal")
    workers = f"{WORKERS - 1} workers of {FAST_US / 1000:g} ms and 1 of {SLOW_US / 1000:g} ms"
    yield of(f"makespan of 10,000 jobs, {workers}, ÷ ideal", found, 1.05)


def verdicts(results, with_unmeasured=True):
    parts = (
        against_c, against_others, latency, windows, idle, stalled, lagging, scale, client,
        makespan,
    )
    found = [verdict for part in parts for verdict in part(results)]
    return [verdict for verdict in found if with_unmeasured or verdict.found is not None]
