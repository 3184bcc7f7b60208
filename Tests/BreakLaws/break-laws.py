#!/usr/bin/env python3
"""Breaks each law of the core on purpose and says after how many random worlds that was found.

All breaks (`breaks.toml`) go into one copy of the core, each behind a number that the environment
chooses, so that one build does for all. A break whose text is gone from the core is an error.
"""

import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tomllib

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PLACE = ROOT / ".build-broken"
COPY = PLACE / "package"
SWITCH = "SLUICE_BROKEN"
FOLDERS = [
    "Sources/SluiceWire", "Tests/SluiceTestKit", "Tests/Simulate", "Tests/SluiceCoreTests",
    "Tests/Fixtures",
]
SECONDS_MAX = 120

MANIFEST = """// swift-tools-version: 6.2
import PackageDescription

let kit: [Target.Dependency] = [.product(name: "DequeModule", package: "swift-collections")]
let heap: [Target.Dependency] = [.product(name: "HeapModule", package: "swift-collections")]
let settings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
]
let package = Package(
    name: "sluice",
    dependencies: [.package(path: "%s")],
    targets: [
        .target(name: "SluiceCore", dependencies: kit + heap, swiftSettings: settings),
        .target(name: "SluiceWire", dependencies: ["SluiceCore"] + kit, swiftSettings: settings),
        .target(
            name: "SluiceTestKit",
            dependencies: ["SluiceCore", "SluiceWire"] + kit,
            path: "Tests/SluiceTestKit",
            swiftSettings: settings
        ),
        .executableTarget(
            name: "sluice-simulate",
            dependencies: ["SluiceTestKit"],
            path: "Tests/Simulate",
            swiftSettings: settings
        ),
        .testTarget(
            name: "SluiceCoreTests",
            dependencies: ["SluiceCore", "SluiceTestKit"] + kit,
            path: "Tests/SluiceCoreTests",
            swiftSettings: settings
        ),
    ]
)
"""

SELECTOR = f"""import Glibc

private let chosen = getenv("{SWITCH}").flatMap {{ Int(String(cString: $0)) }} ?? 0

@inline(never)
func isBroken(_ number: Int) -> Bool {{ chosen == number }}
"""


def write_if_new(path, text):
    if not path.exists() or path.read_text() != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def broken_sources(breaks):
    """The core's files by name, with every break in its place."""
    core = ROOT / "Sources/SluiceCore"
    texts = {file.name: file.read_text() for file in core.glob("*.swift")}
    for number, broken in enumerate(breaks, 1):
        found = texts[broken["file"]].count(broken["old"])
        if found != 1:
            sys.exit(f"{broken['words']}: its text stands {found} times in {broken['file']}")
        new = broken["new"].replace("BROKEN", f"isBroken({number})")
        texts[broken["file"]] = texts[broken["file"]].replace(broken["old"], new)
    texts["Broken.swift"] = SELECTOR
    return texts


def build(breaks):
    """Builds the simulator over the broken core; returns its path."""
    collections = ROOT / ".build/checkouts/swift-collections"
    if not collections.exists():
        subprocess.run(["swift", "package", "resolve"], cwd=ROOT, check=True)
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, COPY / folder, dirs_exist_ok=True)
    for name, text in broken_sources(breaks).items():
        write_if_new(COPY / "Sources/SluiceCore" / name, text)
    write_if_new(COPY / "Package.swift", MANIFEST % collections)
    options = ["-c", "release", "--package-path", str(COPY), "--scratch-path", str(PLACE / "build")]
    subprocess.run(["swift", "build", *options, "--product", "sluice-simulate"], check=True)
    path = ["swift", "build", *options, "--show-bin-path"]
    folder = subprocess.run(path, check=True, capture_output=True, text=True).stdout.strip()
    return pathlib.Path(folder) / "sluice-simulate"


def simulate(program, number, *arguments, seconds=SECONDS_MAX):
    """Runs worlds with one break; returns the exit code and what was printed, None if that takes
    so long that it has to be without an end."""
    environment = os.environ | {SWITCH: str(number), "SWIFT_BACKTRACE": "enable=no"}
    try:
        result = subprocess.run(
            [program, *map(str, arguments)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        return None, ""
    return result.returncode, result.stdout


def fails(test, number):
    """Whether a test of the core fails with one break."""
    environment = os.environ | {SWITCH: str(number), "SWIFT_BACKTRACE": "enable=no"}
    scratch = str(PLACE / "build")
    command = ["swift", "test", "--package-path", str(COPY), "--scratch-path", scratch]
    result = subprocess.run(
        [*command, "--filter", f"^SluiceCoreTests\\.{test}"],
        env=environment,
        capture_output=True,
        text=True,
    )
    if "Test run with 0 tests" in result.stdout or "Test run" not in result.stdout:
        sys.exit(f"{test} did not run:\n{result.stdout}{result.stderr}")
    return result.returncode != 0


def find(program, number, seeds, test):
    """The number of worlds until a break was found, and by what; None if it was not."""
    code, text = simulate(program, number, "--seeds", seeds, "--seed", 1)
    if code == 0:
        return ("–", f"the test {test}") if test and fails(test, number) else None
    if code is None:
        return end_of_patience(program, number)
    if code == 1:
        worlds = re.search(r"world (\d+)$", text, re.MULTILINE)
        return int(worlds[1]), text.splitlines()[0]
    # The core stopped itself; one world after the other says when.
    for seed in range(1, seeds + 1):
        code, _ = simulate(program, number, "--seeds", 1, "--seed", seed)
        if code not in (0, 1):
            return seed, "the core stops itself by a precondition"
    return None


def end_of_patience(program, number):
    """The first seed whose world has no end."""
    for seed in range(1, 33):
        code, _ = simulate(program, number, "--seeds", 1, "--seed", seed, seconds=10)
        if code is None:
            return seed, "a step has no end"
    return "?", "a step has no end"


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seeds", type=int, default=2000, help="worlds for each break")
    arguments.add_argument("--only", help="breaks whose law or words contain this")
    options = arguments.parse_args()
    breaks = tomllib.loads((HERE / "breaks.toml").read_text())["break"]
    program = build(breaks)
    code, text = simulate(program, 0, "--seeds", 50, "--seed", 1)
    if code != 0:
        sys.exit(f"a law is broken before any was broken on purpose:\n{text}")
    missed = 0
    print("| law | broken so | worlds | found by |\n|---|---|---|---|")
    for number, broken in enumerate(breaks, 1):
        if options.only and options.only not in broken["law"] + broken["words"]:
            continue
        found = find(program, number, options.seeds, broken.get("test"))
        missed += found is None
        worlds, message = found or ("NOT FOUND", "")
        message = message.replace("|", "/")[:100]
        print(f"| {broken['law']} | {broken['words']} | {worlds} | {message} |", flush=True)
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
