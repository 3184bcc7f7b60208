"""The results as Markdown and as JSON."""
import dataclasses
import json

from .cells import Kind
from .measure import peers_of

COLUMNS = {
    "delivered_per_s": ("M events/s", 1e6, "{:.3f}"),
    "mb_per_s": ("MB/s", 1, "{:,.0f}"),
    "cpu_s_per_million": ("CPU s/M", 1, "{:.3f}"),
    "p50_us": ("p50 µs", 1, "{:.1f}"),
    "p99_us": ("p99 µs", 1, "{:.0f}"),
    "p999_us": ("p99.9 µs", 1, "{:.0f}"),
    "idle_kib_each": ("KiB/idle", 1, "{:.2f}"),
    "rss_kib": ("RSS MiB", 1024, "{:.1f}"),
    "hwm_kib": ("peak MiB", 1024, "{:.1f}"),
}
LOAD = ("delivered_per_s", "mb_per_s", "cpu_s_per_million", "rss_kib", "hwm_kib")
LATENCY = ("p50_us", "p99_us", "p999_us", "cpu_s_per_million")
FIGURES = {
    Kind.LOAD: LOAD, Kind.CLIENT: LOAD, Kind.LATENCY: LATENCY, Kind.IDLE: ("idle_kib_each", *LOAD),
}
RATIOS = {
    Kind.LOAD: ("delivered_per_s", "cpu_s_per_million"),
    Kind.CLIENT: ("delivered_per_s", "cpu_s_per_million"),
    Kind.LATENCY: ("p50_us", "cpu_s_per_million"),
    Kind.IDLE: ("idle_kib_each", "cpu_s_per_million"),
}
# With the spread; the others are medians alone, or no table fits a screen.
SPREAD = ("delivered_per_s", "cpu_s_per_million", "p50_us", "idle_kib_each")

NOTES = """\
- Compare within one run, and quote ratios: the machine under it is never quiet. A figure is the
  median, in brackets the least and the most. A ratio is the median of the ratios of each
  repetition, in which all ran one after the other.
- CPU s/M is what the broker's process used, user and system, for a million deliveries (for single
  events: microseconds each). Load and broker share the cores, so deliveries a second depend on what
  the load costs too; CPU s/M hardly does.
- NATS and Redis are given one frame a message, as their protocols have it, and route each by its
  subject. Sluice and the C broker move batches whose producer filled them, on links that were
  opened once. That is most of the difference at small payloads: a property of the protocol, not of
  the language. Where a producer has one event at a time the rows of `batches` and `latency` count.
- The C broker (`anchors/cbroker.c`) re-frames batches and carries demand. It keeps no ledger, knows
  no session, and trusts every byte. The relay copies bytes and is the limit of the sockets.
- For GenStage over gen_tcp there is no figure: nobody has measured it beside Sluice yet.
"""


def heading(meta):
    lines = [
        "# Sluice, measured", "",
        f"{meta['date']}, commit {meta['commit']}, {meta['cores']} cores ({meta['cpu']}), "
        f"{meta['system']}. {meta['repetitions']} repetitions of {meta['seconds']:g} s, "
        f"interleaved. Repeat with `{meta['repeat']}`.", "",
    ]
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
    lines += ["## Goals", ""]
    rows = [(v.goal, v.text, v.sign, v.word) for v in verdicts]
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
                figures = sorted({figure for run in runs for figure in run})
                peers[name] = {
                    "median": {f: results.spread(cell.key, f, name).median for f in figures},
                    "sluice_ratio": {
                        f: found.median
                        for f in figures
                        if (found := results.ratio(cell.key, f, name)) and name != "sluice"
                    },
                    "runs": runs,
                }
            cells.append(
                {"group": cell.group, "name": cell.name, "flags": cell.flags, "peers": peers}
            )
    goals = [{**dataclasses.asdict(v), "verdict": v.word} for v in verdicts]
    return json.dumps(
        {**meta, "notes": results.notes, "goals": goals, "cells": cells},
        indent=1, ensure_ascii=False,
    )
