#!/usr/bin/env python3
"""Measures Sluice beside its anchors, interleaved; README.md beside this file tells how to read it."""
import argparse
import sys

from suite import cells, figures, peers, processes


def main():
    parser = argparse.ArgumentParser(description=__doc__.split(";")[0])
    parser.add_argument(
        "--sluice", action="append", metavar="PATH",
        help="the binary; repeat it to compare several in one run (.build/release/sluice)",
    )
    parser.add_argument("--only", help="groups to run, with commas")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    options = parser.parse_args()
    processes.build()
    processes.raise_descriptors()
    there, missing = peers.find(options.sluice or [".build/release/sluice"])
    for sentence in missing:
        print(sentence, file=sys.stderr)
    ours = [name for name in there if name.startswith("sluice")]
    for cell in cells.all_cells():
        if options.only and cell.group not in options.only.split(","):
            continue
        names = ours + [name for name in cell.peers if name in there and name not in ours]
        runs = {name: [] for name in names}
        for _ in range(options.repetitions):
            for name in names:
                runs[name].append(there[name].measure(cell, options.seconds))
        print(cell.name)
        for name in names:
            rate, cpu = (figures.spread(runs[name], k) for k in ("delivered_per_s", "cpu_s_per_million"))
            against = figures.ratio(runs["sluice"], runs[name], "cpu_s_per_million")
            print(f"  {name:10} {rate.median / 1e6:8.3f} M/s  {cpu.median:7.4f} "
                  f"[{cpu.least:.4f}–{cpu.most:.4f}] CPU s/M  sluice ÷ it "
                  f"{against.median:.2f}" if against else "", flush=True)


if __name__ == "__main__":
    main()
