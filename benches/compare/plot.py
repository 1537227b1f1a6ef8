"""Bars with their spread, as SVG: for a page that shows plain files."""

import math
from xml.sax.saxutils import escape

COLOURS = {"corelane": "#2166ac", "kafka": "#b2182b", "jetstream": "#4d9221"}
WIDTH, LEFT, RIGHT, BAR, GAP, TOP, BOTTOM = 760, 210, 110, 18, 6, 40, 34


def ticks(low, high):
    return [10.0**exponent for exponent in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]


def short(value):
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.3g}"


def bars(title, unit, groups):
    """One group of bars for each (name, [(peer, low, median, high)]), on one logarithmic axis."""
    numbers = [number for _, rows in groups for row in rows for number in row[1:] if number > 0]
    if not numbers:
        return None
    marks = ticks(min(numbers) / 1.5, max(numbers) * 1.2)
    low, high = marks[0], marks[-1]
    span = WIDTH - LEFT - RIGHT
    height = TOP + BOTTOM + sum(22 + len(rows) * (BAR + GAP) + 8 for _, rows in groups)

    def x(value):
        return LEFT + span * (math.log10(max(value, low)) - math.log10(low)) / (math.log10(high) - math.log10(low))

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
           'font-family="sans-serif" font-size="12">',
           f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
           f'<text x="10" y="22" font-size="15">{escape(title)}</text>']
    for mark in marks:
        out.append(f'<line x1="{x(mark):.1f}" y1="{TOP}" x2="{x(mark):.1f}" y2="{height - BOTTOM}" stroke="#ddd"/>')
        out.append(f'<text x="{x(mark):.1f}" y="{height - BOTTOM + 16}" text-anchor="middle" fill="#555">{short(mark)}</text>')
    out.append(f'<text x="{WIDTH - 10}" y="{height - 4}" text-anchor="end" fill="#555">{escape(unit)}, logarithmic</text>')
    y = TOP
    for name, rows in groups:
        y += 18
        out.append(f'<text x="10" y="{y}" font-weight="bold">{escape(name)}</text>')
        y += 4
        for peer, least, median, most in rows:
            middle = y + BAR / 2
            colour = COLOURS.get(peer.split()[0].lower(), "#777")
            out.append(f'<text x="{LEFT - 8}" y="{middle + 4:.1f}" text-anchor="end">{escape(peer)}</text>')
            if median > 0:
                out.append(f'<rect x="{LEFT}" y="{y}" width="{x(median) - LEFT:.1f}" height="{BAR}" fill="{colour}"/>')
                out.append(f'<line x1="{x(least):.1f}" y1="{middle}" x2="{x(most):.1f}" y2="{middle}" stroke="black"/>')
                out.append(f'<text x="{max(x(most), x(median)) + 6:.1f}" y="{middle + 4:.1f}">{short(median)}</text>')
            y += BAR + GAP
        y += 8
    out.append("</svg>")
    return "\n".join(out) + "\n"
