#!/usr/bin/env python3
"""Counts the instructions that Sluice's hot paths take, and holds them against budget.json.

usage: budget.py [--update] [--no-build] [SCENARIO…]    check, or write what was counted
       budget.py --profile SCENARIO [--lines] [--top N]  where its instructions go
       budget.py --list

Each scenario of `sluice-budget` runs under `valgrind --tool=callgrind` with N units of work and
with 2 N; the difference is what N units take, without the start. The figures of a unit:

  own      instructions of the code that is built here: all of the executable but the harness
  runtime  instructions of the Swift runtime and library
  retains  calls of retain and release; allocs: of malloc; copies: of memcpy, memmove, memset
"""
import argparse, collections, concurrent.futures, json, os, re, subprocess, sys, tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
BUDGET = os.path.join(HERE, "budget.json")
SLACK = 0.05
# What a figure may be off by in addition, so that 0.01 calls more are no 5 %.
GRAIN = {"own": 0.05, "runtime": 0.5, "retains": 0.05, "allocs": 0.02, "copies": 0.02}
# The variants of the C library that every x86-64 machine has.
TUNABLES = "glibc.cpu.hwcaps=" + ",".join("-" + feature for feature in (
    "AVX512F", "AVX512VL", "AVX512BW", "AVX2", "AVX", "AVX_Fast_Unaligned_Load", "ERMS", "FSRM",
    "SSE4_2", "SSE4_1", "SSSE3", "BMI1", "BMI2", "LZCNT", "MOVBE", "RTM", "Fast_Unaligned_Copy"))

Costs = collections.namedtuple("Costs", "own_cost inclusive calls lines")


def build():
    flags = ["-c", "release", "--explicit-target-dependency-import-check", "error"]
    done = subprocess.run(["swift", "build", *flags, "--product", "sluice-budget"], cwd=ROOT,
                          capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)


def binary():
    shown = subprocess.run(["swift", "build", "-c", "release", "--show-bin-path"], cwd=ROOT,
                           capture_output=True, text=True, check=True)
    return os.path.join(shown.stdout.strip(), "sluice-budget")


def scenarios(program):
    """Name, unit and count of each scenario, in order."""
    lines = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    return {name: (unit, int(count)) for name, unit, count in map(str.split, lines.splitlines())}


# ---- Counting

def count(program, name, units):
    """What one process costs: (object, function) → costs."""
    environment = {
        "PATH": os.environ["PATH"],
        "LANG": "C",
        "SWIFT_DETERMINISTIC_HASHING": "1",
        "GLIBC_TUNABLES": TUNABLES,
        "LD_BIND_NOW": "1",
    }
    if "LD_LIBRARY_PATH" in os.environ:
        environment["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
    with tempfile.TemporaryDirectory() as place:
        out = os.path.join(place, "out")
        command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=" + out,
                   program, name, str(units)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{name} failed: {done.stdout}{done.stderr}")
        with open(out) as lines:
            return parse(lines)


def parse(lines):
    """Reads callgrind's format: names are numbered, positions relative."""
    names = {"ob": {}, "fl": {}, "fn": {}}
    own = collections.Counter()
    inclusive = collections.Counter()
    calls = collections.Counter()
    by_line = collections.Counter()
    kinds = {"ob": "ob", "cob": "ob", "fl": "fl", "fi": "fl", "fe": "fl", "cfi": "fl",
             "cfl": "fl", "fn": "fn", "cfn": "fn"}
    pattern = re.compile(r"(ob|cob|fl|fi|fe|cfi|cfl|fn|cfn)=\((\d+)\)(?: (.*))?$")
    here = {"ob": "", "fn": "", "fl": ""}
    callee_object = callee = None
    call_count = None
    line = 0
    for text in lines:
        first = text[0] if text else "\n"
        if first in "0123456789+-*":
            position, cost = text.split()[:2]
            if first == "+":
                line += int(position[1:])
            elif first == "-":
                line -= int(position[1:])
            elif first != "*":
                line = int(position)
            cost = int(cost)
            function = (here["ob"], here["fn"])
            if call_count is None:
                own[function] += cost
                inclusive[function] += cost
                by_line[(here["ob"], here["fn"], here["fl"], line)] += cost
            else:
                calls[(function, callee)] += call_count
                # A recursion is in its first call already.
                if plain(callee[1]) != plain(function[1]):
                    inclusive[function] += cost
                call_count = None
            continue
        if text.startswith("calls="):
            call_count = int(text[6:].split()[0])
            callee_object = None
            continue
        match = pattern.match(text)
        if not match:
            continue
        key, number, name = match.groups()
        kind = kinds[key]
        if name is not None:
            names[kind][number] = name
        name = names[kind][number]
        if key == "cob":
            callee_object = name
        elif key == "cfn":
            callee = (callee_object or here["ob"], name)
        elif key in ("fi", "fe"):
            here["fl"] = name
        elif key in here:
            here[key] = name
    return Costs(own, inclusive, calls, by_line)


def plain(function):
    """The name without callgrind's mark of a recursion's depth."""
    return function.split("'")[0]


def difference(more, less):
    result = []
    for big, small in zip(more, less):
        counter = collections.Counter(big)
        counter.subtract(small)
        result.append(counter)
    return Costs(*result)


def measure(program, name, units):
    return difference(count(program, name, 2 * units), count(program, name, units))


# ---- Figures

def is_harness(function):
    return function.startswith("$s13sluice_budget") or function == "main"


def is_own(place, program):
    return place[0] == program and not is_harness(place[1])


def is_library(place, stem):
    return os.path.basename(place[0]).startswith(stem)


RETAINS = re.compile(r"swift_(bridgeObject|unknownObject|unowned|weak|nonatomic_)?_?"
                     r"(retain|release|strongRetain|strongRelease|[rR]etainStrong)")
COPIES = re.compile(r"_*(memcpy|memmove|memset)")


def figures(costs, program, units):
    own = sum(cost for place, cost in costs.own_cost.items() if is_own(place, program))
    runtime = sum(cost for place, cost in costs.own_cost.items()
                  if is_library(place, "libswift"))
    called = collections.Counter()
    for (caller, callee), number in costs.calls.items():
        kind = call_kind(caller, callee)
        if kind and not is_harness(caller[1]):
            called[kind] += number
    result = {"own": own, "runtime": runtime}
    result.update({kind: called[kind] for kind in ("retains", "allocs", "copies")})
    return {kind: round(total / units, 3) for kind, total in result.items()}


def call_kind(caller, callee):
    """What a call counts as; nil for most."""
    name = plain(callee[1])
    if is_library(callee, "libswiftCore") and RETAINS.match(name):
        return None if is_library(caller, "libswiftCore") else "retains"
    if is_library(callee, "libc.") and not is_library(caller, "libc."):
        if name in ("malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc"):
            return "allocs"
        if COPIES.match(name):
            return "copies"
    return None


def table(rows):
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = [row[0].ljust(widths[0])] + [c.rjust(w) for c, w in zip(row[1:], widths[1:])]
        print("  ".join(cells).rstrip())


def compare(found, budget):
    """Prints what was found beside the budget; returns what is over it, and what is under."""
    kinds = list(GRAIN)
    rows = [["scenario", "per", *kinds, "budget", ""]]
    over, under = [], []
    for name, (unit, new) in found.items():
        old = budget.get(name)
        notes = []
        for kind in kinds:
            if old is None:
                break
            allowed = old[kind] * SLACK + GRAIN[kind]
            if new[kind] > old[kind] + allowed:
                notes.append(f"{kind} ABOVE {old[kind]:g}")
                over.append(name)
            elif new[kind] < old[kind] - allowed:
                notes.append(f"{kind} below {old[kind]:g}")
                under.append(name)
        if old is None:
            notes, over = ["has no budget"], over + [name]
        ratio = f"{new['own'] / old['own']:.3f}" if old and old["own"] else "-"
        rows.append([name, unit, *(f"{new[k]:.2f}" for k in kinds), ratio, ", ".join(notes)])
    table(rows)
    return list(dict.fromkeys(over)), list(dict.fromkeys(under))


# ---- The profile

def demangle(names):
    done = subprocess.run(["swift", "demangle", "--compact", "--simplified"],
                          input="\n".join(names), capture_output=True, text=True)
    return dict(zip(names, done.stdout.splitlines()))


def profile(program, name, unit, units, top, with_lines):
    costs = measure(program, name, units)
    new = figures(costs, program, units)
    shown = collections.Counter()
    inclusive = collections.Counter()
    for place, cost in costs.own_cost.items():
        shown[(place[0], plain(place[1]))] += cost
    for place, cost in costs.inclusive.items():
        inclusive[(place[0], plain(place[1]))] += cost
    entries, callers = collections.Counter(), collections.defaultdict(collections.Counter)
    for (caller, callee), number in costs.calls.items():
        entries[(callee[0], plain(callee[1]))] += number
        kind = call_kind(caller, callee)
        if kind:
            callers[kind][(caller[1], plain(callee[1]))] += number
        elif is_library(callee, "libswiftCore") and caller[0] == program:
            callers["runtime"][(caller[1], plain(callee[1]))] += number
    names = {place[1] for place in shown}
    names |= {c for found in callers.values() for p in found for c in p}
    readable = demangle(sorted(names))

    def label(place):
        mark = ""
        if place[0] != program:
            mark = f" [{os.path.basename(place[0]).split('.so')[0]}]"
        elif is_harness(place[1]):
            mark = " [harness]"
        return (readable.get(place[1]) or place[1])[:120] + mark

    print(f"{name}: per {unit}, of {units}: " + ", ".join(f"{k} {v:g}" for k, v in new.items()))
    total = sum(shown.values()) or 1
    print(f"\nself        %  inclusive   calls  (per {unit}; all objects)")
    for place, cost in shown.most_common(top):
        print(f"{cost / units:8.2f} {cost / total:5.1%} {inclusive[place] / units:9.2f} "
              f"{entries[place] / units:8.3f}  {label(place)}")
    print(f"\ninclusive    self   calls  (own code)")
    own = [p for p in inclusive if is_own(p, program)]
    for place in sorted(own, key=lambda p: -inclusive[p])[:top]:
        print(f"{inclusive[place] / units:8.2f} {shown[place] / units:8.2f} "
              f"{entries[place] / units:8.3f}  {label(place)}")
    for kind in ("retains", "allocs", "copies", "runtime"):
        print(f"\ncalls of {kind} per {unit}, by caller")
        for (caller, callee), number in callers[kind].most_common(top // 2):
            if number / units < 0.0005:
                break
            mark = " [harness]" if is_harness(caller) else ""
            names_shown = f"{readable[callee][:48]} ← {readable[caller][:110]}"
            print(f"{number / units:8.3f}  {names_shown}{mark}")
    if with_lines:
        print(f"\nself by line per {unit} (inlined code where it was written)")
        by_line = collections.Counter()
        for (place, function, path, line), cost in costs.lines.items():
            if is_own((place, function), program):
                by_line[(path.removeprefix(ROOT + "/"), line)] += cost
        for (path, line), cost in by_line.most_common(2 * top):
            print(f"{cost / units:8.2f}  {path}:{line}  {source(path, line)}")


def source(path, line):
    try:
        with open(os.path.join(ROOT, path)) as lines:
            return lines.readlines()[line - 1].strip()[:90]
    except (OSError, IndexError):
        return ""


# ---- The command

def main():
    parser = argparse.ArgumentParser(description="Instruction counts of the hot paths.")
    parser.add_argument("scenario", nargs="*")
    parser.add_argument("--update", action="store_true", help="write budget.json")
    parser.add_argument("--profile", metavar="SCENARIO", help="show where instructions go")
    parser.add_argument("--lines", action="store_true", help="profile: by source line too")
    parser.add_argument("--top", type=int, default=40, help="profile: rows of each table")
    parser.add_argument("--count", type=int, help="profile: units of work")
    parser.add_argument("--no-build", action="store_true", help="take the program as it is")
    parser.add_argument("--list", action="store_true", help="name the scenarios")
    arguments = parser.parse_args()
    if not arguments.no_build:
        build()
    program = os.path.realpath(binary())
    known = scenarios(program)
    if arguments.list:
        table([["scenario", "per", "count"]] + [[n, u, str(c)] for n, (u, c) in known.items()])
        return
    wanted = [arguments.profile] if arguments.profile else arguments.scenario or list(known)
    for name in wanted:
        if name not in known:
            sys.exit(f"no scenario is named {name}; --list names them")
    if arguments.profile:
        unit, units = known[arguments.profile]
        profile(program, arguments.profile, unit, arguments.count or units, arguments.top,
                arguments.lines)
        return

    def one(name):
        unit, units = known[name]
        return unit, figures(measure(program, name, units), program, units)

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as workers:
        found = dict(zip(wanted, workers.map(one, wanted)))
    budget = {}
    if os.path.exists(BUDGET):
        with open(BUDGET) as file:
            budget = json.load(file)
    over, under = compare(found, budget)
    if arguments.update:
        budget.update({name: new for name, (_, new) in found.items()})
        budget = {name: budget[name] for name in known if name in budget}
        with open(BUDGET, "w") as file:
            lines = [f"  {json.dumps(name)}: {json.dumps(new)}" for name, new in budget.items()]
            file.write("{\n" + ",\n".join(lines) + "\n}\n")
        return
    if under:
        print("\nBelow the budget by more than 5 %: " + ", ".join(under)
              + ".\nRun `make budget-update`, so that it stays so.")
    if over:
        print("\nABOVE the budget by more than 5 %: " + ", ".join(over)
              + ".\n`Benchmarks/budget.py --profile SCENARIO` shows where it goes; what has to be"
              " is entered by `make budget-update`.")
        sys.exit(1)


main()
