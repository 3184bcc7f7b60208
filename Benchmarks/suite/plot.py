"""The throughput cells as an SVG, for people who look before they read."""
import dataclasses
import math
from xml.sax.saxutils import escape

from .cells import SIZES

# Light and dark of each: the picture brings its own ground, so it is legible on any page.
PEERS = {
    "sluice": ("Sluice", "#0b7285", "#3bc9db"),
    "cbroker": ("C broker", "#5c677d", "#adb5bd"),
    "nats": ("NATS", "#2f9e44", "#69db7c"),
    "redis": ("Redis", "#d9730d", "#ffa94d"),
}
# Cores that others may take on a machine that is called quiet.
QUIET = 0.1
WIDTH, LABEL, GAP, RIGHT = 960, 58, 74, 26
ROW, GROUP, TOP, HEAD = 17, 14, 98, 34


@dataclasses.dataclass(frozen=True)
class Panel:
    """One figure on one axis, from left to right; `x` is where its axis begins."""

    title: str
    figure: str
    scale: float
    x: float
    width: float
    low: float
    high: float

    def at(self, value):
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return self.x + self.width * min(max(share, 0), 1)

    def ticks(self):
        power = math.ceil(math.log10(self.low) - 1e-9)
        while 10**power <= self.high * 1.0001:
            yield 10.0**power
            power += 1


def text(x, y, words, style, anchor="start"):
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{style}" text-anchor="{anchor}">' \
        f"{escape(words)}</text>"


def short(value):
    """Two digits or three, without an exponent: 0.0063, 1.84, 118."""
    if value <= 0:
        return "0"
    digits = 2 if value < 1 else 3
    return f"{value:.{max(0, digits - 1 - math.floor(math.log10(value)))}f}"


def style():
    light = "".join(f".{name}{{fill:{pair[1]};stroke:{pair[1]}}}" for name, pair in PEERS.items())
    dark = "".join(f".{name}{{fill:{pair[2]};stroke:{pair[2]}}}" for name, pair in PEERS.items())
    return (
        "<style>text{font-family:ui-sans-serif,system-ui,'Segoe UI','DejaVu Sans',sans-serif;"
        "font-size:12px;fill:#343a40;stroke:none}"
        ".title{font-size:17px;font-weight:600}.sub,.foot{font-size:11.5px;fill:#6c757d}"
        ".head{font-size:13px;font-weight:600}.tick{font-size:10.5px;fill:#868e96}"
        ".value{font-size:10.5px}.ours{font-weight:700}"
        ".ground{fill:#fdfdfc;stroke:#dee2e6}.grid{stroke:#e9ecef}.stem{stroke-opacity:.28;"
        f"stroke-width:3}}.whisker{{stroke-width:1.6}}{light}"
        "@media(prefers-color-scheme:dark){text{fill:#dee2e6}.sub,.foot{fill:#9aa3ab}"
        ".tick{fill:#868e96}.ground{fill:#16191d;stroke:#343a40}.grid{stroke:#2b3035}"
        f"{dark}}}</style>"
    )


def bounds(values):
    """Powers of ten around the values, with room for a label to the right."""
    low, high = min(values), max(values)
    floor = 10 ** math.floor(math.log10(low))
    return floor, max(high * (high / low) ** 0.16, 10 * floor)


def panels(results, keys):
    width = (WIDTH - 2 * LABEL - GAP - RIGHT) / 2
    for index, (title, figure, scale) in enumerate((
        ("million deliveries a second (more is better)", "delivered_per_s", 1e6),
        ("broker CPU s per million (less is better)", "cpu_s_per_million", 1),
    )):
        found = [
            spread.median / scale
            for key in keys for peer in PEERS
            if (spread := results.spread(key, figure, peer))
        ]
        if found and min(found) > 0:
            low, high = bounds(found)
            x = LABEL + 8 + index * (width + GAP + LABEL - 30)
            yield Panel(title, figure, scale, x, width, low, high)


def rows(results, fan):
    """The peers that have figures, for each size."""
    for size in SIZES:
        key = f"throughput: {size} B, {fan}"
        names = [name for name in PEERS if results.spread(key, "delivered_per_s", name)]
        if names:
            yield size, key, names


def draw_row(panel, spread, name, y):
    style = "value ours" if name == "sluice" else "value"
    middle, least, most = (
        value / panel.scale for value in (spread.median, spread.least, spread.most)
    )
    x = panel.at(middle)
    yield f'<g class="{name}"><line class="stem" x1="{panel.x:.1f}" x2="{x:.1f}" ' \
        f'y1="{y:.1f}" y2="{y:.1f}"/>'
    if least > 0:
        yield f'<line class="whisker" x1="{panel.at(least):.1f}" x2="{panel.at(most):.1f}" ' \
            f'y1="{y:.1f}" y2="{y:.1f}"/>'
    yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.2"/></g>'
    yield text(max(x, panel.at(most)) + 9, y + 3.7, short(middle), style)


def draw_block(results, fan, y):
    """All sizes of one fan-out; the parts, and where the next block begins."""
    found = list(rows(results, fan))
    keys = [key for _, key, _ in found]
    height = sum(len(names) * ROW + GROUP for _, _, names in found)
    parts = []
    for panel in panels(results, keys):
        parts.append(text(panel.x, y - 20, f"{fan}:  {panel.title}", "head"))
        for tick in panel.ticks():
            x = panel.at(tick)
            parts.append(
                f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{y - 4}" y2="{y + height}"/>'
            )
            parts.append(text(x, y - 7, f"{tick:g}", "tick", "middle"))
        row = y + GROUP
        for size, key, names in found:
            label = f"{size} B" if size < 1024 else f"{size // 1024} KiB"
            parts.append(text(panel.x - 10, row + (len(names) - 1) * ROW / 2 + 4, label, "", "end"))
            for name in names:
                spread = results.spread(key, panel.figure, name)
                if spread:
                    parts += draw_row(panel, spread, name, row)
                row += ROW
            row += GROUP
    return parts, y + height + HEAD + 22


def legend(names):
    x = LABEL + 8
    for name in names:
        words = PEERS[name][0]
        yield f'<circle class="{name}" cx="{x}" cy="62" r="4.2"/>'
        yield text(x + 9, 66, words, "ours" if name == "sluice" else "")
        x += 32 + 7.2 * len(words)


def svg(results, meta):
    """The picture, or None if the throughput cells were not run."""
    fans = [fan for fan in ("1→1", "1→4 shared") if list(rows(results, fan))]
    if not fans:
        return None
    seen = {name for fan in fans for _, _, names in rows(results, fan) for name in names}
    body, y = [], TOP + HEAD
    for fan in fans:
        parts, y = draw_block(results, fan, y)
        body += parts
    height = y + 8
    busy = ", and others too" if meta["others_cores"] > QUIET else ""
    left = LABEL + 8
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" '
        f'width="{WIDTH}" height="{height:.0f}" role="img">',
        "<title>Throughput and CPU of Sluice beside a C broker, NATS and Redis</title>",
        style(),
        f'<rect class="ground" x=".5" y=".5" width="{WIDTH - 1}" height="{height - 1:.0f}" '
        'rx="10"/>',
        text(left, 36, "Sluice beside a broker in C, NATS and Redis", "title"),
        *legend([name for name in PEERS if name in seen]),
        *body,
        text(left, height - 34, f"{meta['date']} · {meta['cores']} cores, {meta['cpu']}, load and "
             f"broker on the same ones{busy} · median of {meta['repetitions']} with least and most"
             " · logarithmic", "foot"),
        text(left, height - 16, "NATS and Redis: one frame a message, as their protocols have it; "
             f"Sluice and C: batches. Repeat with {meta['repeat']}", "foot"),
        "</svg>",
    ]) + "\n"
