"""Sums up variants: medians and spread of their rounds, ratios to the first one, and the machine's limits, as Markdown.

Usage: variants.py FOLDER NAME=FLAGS...
"""

import statistics
import sys
from pathlib import Path

from summary import FAULTS, ROWS, at, limits, rounds_of, shown, values


def main():
    folder = Path(sys.argv[1])
    names = [variant.split("=", 1)[0] for variant in sys.argv[2:]]
    results = {name: rounds_of(folder, name) for name in names}
    for variant in sys.argv[2:]:
        print(f"- `{variant}`: {len(results[variant.split('=', 1)[0]])} rounds")
    print(f"\n| median (lowest..highest) | {' | '.join(names)} |\n|---|{'---|' * len(names)}")
    for path, title, divisor, decimals, _ in ROWS:
        columns = {name: values(results[name], path) for name in names}
        first = columns[names[0]]
        cells = []
        for name in names:
            cell = shown(columns[name], divisor, decimals)
            if name != names[0] and first and columns[name] and statistics.median(first):
                cell += f", {statistics.median(columns[name]) / statistics.median(first):.2f} x"
            cells.append(cell)
        print(f"| {title} | {' | '.join(cells)} |")
    faults = {name: sum(at(result, ("verification", fault)) or 0 for result in results[name] for fault in FAULTS) for name in names}
    print(f"\nFaults found by verification: {', '.join(f'{name} {count:.0f}' for name, count in faults.items())}.")
    for line in limits(folder):
        print(f"- {line}")


main()
