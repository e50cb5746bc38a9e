"""Draws what `benches/load` measured as an SVG, on standard output: chart.py SUMMARY.json HEAD.txt

Bars are requests/s as parts of nginx's, one panel for each number of connections. The picture holds its own
styles, for light and dark pages alike, and needs nothing else.
"""

import json
import math
import sys
from html import escape

# Told apart by those who see no red or green too (Okabe and Ito), on white and on black.
COLOURS = ["#0072b2", "#56b4e9", "#009e73", "#e69f00", "#cc79a7", "#d55e00", "#8c6d31", "#7f7f7f"]
WIDTH, LEFT, RIGHT, PANEL, TOP, BELOW = 860, 56, 16, 220, 34, 30

with open(sys.argv[1], encoding="utf-8") as file:
    rows = json.load(file)
with open(sys.argv[2], encoding="utf-8") as file:
    head = dict(line.split(None, 1) for line in file)


def in_bytes(size):
    return int(size.rstrip("KM")) << {"K": 10, "M": 20}.get(size[-1], 0)


def unique(values):
    return list(dict.fromkeys(values))


sizes = sorted(unique(row["body"] for row in rows), key=in_bytes)
panels = sorted(unique(row["connections"] for row in rows))
usual = ["pinhole public", "pinhole signed", "pinhole bearer", "nginx secure_link"]
named = unique(row["name"] for row in rows)
# nginx's plain ways are what the line at 1 stands for.
names = [name for name in usual if name in named]
names += [name for name in named if name not in usual and name not in ("nginx", "nginx sendfile")]
ratios = {(row["connections"], row["body"], row["name"]): row for row in rows}
shown = [row["ratio"] for row in rows if row["name"] in names]
step = 0.25 if max(shown) <= 2 else 1.0 if max(shown) <= 8 else 5.0
most = max(1.0, math.ceil((max(shown) + step / 4) / step) * step)

legend_lines = math.ceil(len(names) / 4)
legend = 44 + 20 * legend_lines
height = legend + len(panels) * (TOP + PANEL + BELOW) + 26
out = []


def text(x, y, words, kind="", anchor="start"):
    out.append(f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(words)}</text>')


title = "Requests per second beside nginx"
out.append(
    f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
    f'role="img" aria-label="{escape(title)}">'
    "<style>text{font:13px system-ui,sans-serif;fill:#24292f}.title{font-size:16px;font-weight:600}"
    ".small{font-size:11px;fill:#57606a}.back{fill:#fff}.grid{stroke:#d0d7de}"
    ".one{stroke:#24292f;stroke-width:1.5;stroke-dasharray:6 3}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.small{fill:#9da7b3}.back{fill:#0d1117}"
    ".grid{stroke:#30363d}.one{stroke:#e6edf3}}</style>"
    f"<title>{escape(title)}</title>"
    f'<rect class="back" width="{WIDTH}" height="{height}" rx="6"/>'
)
text(LEFT, 26, title, "title")
for at, name in enumerate(names):
    x, y = LEFT + (at % 4) * 195, 50 + 20 * (at // 4)
    out.append(f'<rect x="{x}" y="{y - 10}" width="12" height="12" rx="2" fill="{COLOURS[at % len(COLOURS)]}"/>')
    text(x + 18, y, name)

for at, connections in enumerate(panels):
    top = legend + at * (TOP + PANEL + BELOW) + TOP
    text(LEFT, top - 14, f"{connections} connections: requests/s, parts of nginx's (higher is faster)")
    for tick in range(round(most / step) + 1):
        y = top + PANEL * (1 - tick * step / most)
        out.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        text(LEFT - 8, y + 4, f"{tick * step:g} ×", "small", "end")
    group = (WIDTH - LEFT - RIGHT) / len(sizes)
    bar = min(46.0, group * 0.86 / len(names))
    for place, size in enumerate(sizes):
        middle = LEFT + group * (place + 0.5)
        text(middle, top + PANEL + 18, f"{size.replace('K', ' KiB').replace('M', ' MiB')}", "", "middle")
        for which, name in enumerate(names):
            row = ratios.get((connections, size, name))
            if row is None:
                continue
            tall = PANEL * row["ratio"] / most
            x = middle + (which - len(names) / 2) * bar
            told = f"{name}, {size}, {connections} connections: {row['ratio']:.2f} × nginx, {row['rate']:.0f}/s"
            out.append(
                f'<rect x="{x + 1:.1f}" y="{top + PANEL - tall:.1f}" width="{bar - 2:.1f}" height="{tall:.1f}" '
                f'fill="{COLOURS[which % len(COLOURS)]}"><title>{escape(told)}</title></rect>'
            )
            text(x + bar / 2, top + PANEL - tall - 4, f"{row['ratio']:.2f}", "small", "middle")
    y = top + PANEL * (1 - 1 / most)
    out.append(f'<line class="one" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
    text(WIDTH - RIGHT - 4, y - 5, "nginx", "small", "end")

told = f"{head['Machine'].strip()}; {head['Versions'].strip()}; {head['Date'].strip()}"
text(LEFT, height - 10, told, "small")
out.append("</svg>")
print("\n".join(out))
