"""The results as Markdown and as JSON."""
import dataclasses
import json

from .cells import Kind
from .measure import peers_of
from .plot import QUIET

COLUMNS = {
    "delivered_per_s": ("M events/s", 1e6, "{:.3f}"),
    "mb_per_s": ("MB/s", 1, "{:,.0f}"),
    "cpu_s_per_million": ("CPU s/M", 1, "{:.3f}"),
    "p50_us": ("p50 µs", 1, "{:.1f}"),
    "p99_us": ("p99 µs", 1, "{:.0f}"),
    "p999_us": ("p99.9 µs", 1, "{:.0f}"),
    "idle_kib_each": ("KiB/idle", 1, "{:.2f}"),
    "makespan_s": ("makespan s", 1, "{:.3f}"),
    "ideal_s": ("ideal s", 1, "{:.3f}"),
    "late_us": ("woken late µs", 1, "{:.0f}"),
    "over_ideal": ("÷ ideal", 1, "{:.3f}"),
    "events_per_frame": ("events/frame", 1, "{:.0f}"),
    "cpu": ("broker's cores", 1, "{:.2f}"),
    "generator_cpu": ("load's cores", 1, "{:.2f}"),
    "rss_kib": ("RSS MiB", 1024, "{:.1f}"),
    "hwm_kib": ("peak MiB", 1024, "{:.1f}"),
}
LOAD = (
    "delivered_per_s", "mb_per_s", "cpu_s_per_million", "events_per_frame", "cpu", "generator_cpu",
    "rss_kib", "hwm_kib",
)
LATENCY = ("p50_us", "p99_us", "p999_us", "cpu_s_per_million")
FIGURES = {
    Kind.LOAD: LOAD,
    Kind.CLIENT: LOAD,
    Kind.LATENCY: LATENCY,
    Kind.IDLE: ("idle_kib_each", *LOAD),
    Kind.MAKESPAN: ("makespan_s", "ideal_s", "over_ideal", "late_us", "cpu_s_per_million"),
}
RATIOS = {
    Kind.LOAD: ("delivered_per_s", "cpu_s_per_million"),
    Kind.CLIENT: ("delivered_per_s", "cpu_s_per_million"),
    Kind.LATENCY: ("p50_us", "cpu_s_per_million"),
    Kind.IDLE: ("idle_kib_each", "cpu_s_per_million"),
    Kind.MAKESPAN: (),
}
# With the spread; the others are medians alone, or no table fits a screen.
SPREAD = ("delivered_per_s", "cpu_s_per_million", "p50_us", "idle_kib_each", "over_ideal")

NOTES = """\
- Compare within one run, and quote ratios: the machine under it is never quiet. A figure is the
  median, in brackets the least and the most. A ratio is the median of the ratios of each
  repetition, in which all ran one after the other.
- CPU s/M is what the broker's process used, user and system, for a million deliveries (for single
  events: microseconds each). Load and broker share the cores, so deliveries a second depend on what
  the load costs too (`cores` tell how many each of them used); CPU s/M hardly does.
- NATS and Redis are given one frame a message, as their protocols have it, and route each by its
  subject. Sluice and the C broker move batches whose producer filled them, on links that were
  opened once. That is most of the difference at small payloads: a property of the protocol, not of
  the language. Where a producer has one event at a time the rows of `batches` and `latency` count.
- The C broker (`anchors/cbroker.c`) re-frames batches and carries demand. It keeps no ledger, knows
  no session, and trusts every byte. The relay copies bytes and is the limit of the sockets.
- A congestion control that paces (BBR) does so with timers, on loopback too. Sluice leaves what
  stays on the machine unpaced, the others have what the system gives; the C broker stands there a
  second time, unpaced as Sluice is, so that its rows tell what this makes.
- GenStage over gen_tcp is quoted, not of this run: with 128 B, a remote producer and one consumer,
  three BEAMs on two cores moved 2.0–2.4 million events/s at a max_demand of 1,000, on another day,
  and 0.6–0.8 million at 100.
"""


def heading(meta):
    lines = [
        "# Sluice, measured", "",
        f"{meta['date']}, commit {meta['commit']}, {meta['cores']} cores ({meta['cpu']}), "
        f"{meta['system']}, congestion control {meta['congestion_control']}. "
        f"{meta['repetitions']} repetitions of {meta['seconds']:g} s "
        f"each, interleaved. Repeat with `{meta['repeat']}`.", "",
    ]
    if meta["others_cores"] is not None:
        others, verdict = meta["others_cores"], "."
        if others > QUIET:
            verdict = ": it was NOT quiet."
        lines += [f"Meanwhile everything else here took {others:.2f} cores (median){verdict}", ""]
    if meta["peers"]:
        lines += ["Beside it: " + ", ".join(meta["peers"]) + ".", ""]
    return lines


def table(header, rows):
    yield "| " + " | ".join(header) + " |"
    yield "|" + "---|" * len(header)
    for row in rows:
        yield "| " + " | ".join(row) + " |"


def shown(spread, figure):
    if spread is None:
        return "–"
    _, scale, form = COLUMNS[figure]
    middle = form.format(spread.median / scale)
    if figure not in SPREAD:
        return middle
    return f"{middle} [{form.format(spread.least / scale)}–{form.format(spread.most / scale)}]"


def group_rows(results, cells, there):
    for cell in cells:
        for name in peers_of(cell, there):
            key, kind = cell.key, cell.kind
            row = [cell.name if name == "sluice" else "", name]
            row += [shown(results.spread(key, f, name), f) for f in FIGURES[kind]]
            for figure in RATIOS[kind]:
                found = None if name == "sluice" else results.ratio(key, figure, name)
                row.append(f"{found.median:.2f}" if found else "")
            yield row


def markdown(results, groups, there, verdicts, meta):
    lines = heading(meta)
    if verdicts:
        rows = [(v.goal, v.text, v.sign, v.word) for v in verdicts]
        met = sum(v.word == "met" for v in verdicts)
        lines += ["## Goals", "", f"{met} of {len(verdicts)} met.", ""]
        lines += table(("goal", "found", "bound", ""), rows)
    for group, cells in groups.items():
        kind = cells[0].kind
        header = ["cell", "peer", *(COLUMNS[f][0] for f in FIGURES[kind])]
        header += [f"sluice ÷ it: {COLUMNS[f][0]}" for f in RATIOS[kind]]
        lines += ["", f"## {group.capitalize()}", ""]
        lines += table(header, group_rows(results, cells, there))
    lines += ["", "## How to read it", "", NOTES.rstrip()]
    lines += [f"- {note}" for note in results.notes]
    return "\n".join(lines) + "\n"


def document(results, groups, there, verdicts, meta):
    """The same and every single run, for programs."""
    cells = []
    for group in groups.values():
        for cell in group:
            peers = {}
            for name in peers_of(cell, there):
                runs = results.of(cell.key, name)
                figures = [f for f in FIGURES[cell.kind] if results.spread(cell.key, f, name)]
                peers[name] = {
                    f: {
                        "median": rounded(results.spread(cell.key, f, name).median),
                        "runs": [rounded(run.get(f)) for run in runs],
                        "sluice_ratio": rounded(results.ratio(cell.key, f, name).median),
                    }
                    for f in figures
                }
            cells.append({"group": cell.group, "name": cell.name, "peers": peers})
    # A line for each cell and goal, so that a change of one is a change of one.
    goals = [{**dataclasses.asdict(v), "verdict": v.word} for v in verdicts]
    head = {**meta, "notes": results.notes}
    lines = [f'"{key}": {compact(value)}' for key, value in head.items()]
    for key, rows in (("goals", goals), ("cells", cells)):
        inner = ",\n".join(f"  {compact(row)}" for row in rows)
        lines.append(f'"{key}": [\n{inner}\n]')
    return "{\n" + ",\n".join(lines) + "\n}\n"


def compact(value):
    return json.dumps(value, ensure_ascii=False)


def rounded(value):
    """Five digits: what is behind them is noise, and makes every line of a diff differ."""
    return None if value is None else float(f"{value:.5g}")
