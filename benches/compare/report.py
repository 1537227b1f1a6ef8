"""What a race of all peers came to: tables and plots, and their place in benches/RESULTS.md."""

import os
import platform
import statistics
import subprocess
import time
from pathlib import Path

import plot
from summary import FAULTS, at, limit_numbers, rounds_of, shown, values

BEGIN, END = "<!-- written by benches/compare/all -->", "<!-- end of what benches/compare/all writes -->"
TITLES = {"corelane": "Corelane", "native": "Corelane, native protocol", "kafka": "Kafka 4.3.1", "jetstream": "JetStream"}
ROWS = (
    (("produced", "records_per_second"), "records/s", 1, 0),
    (("produced", "bytes_per_second"), "MB/s", 1e6, 1),
    (("produced", "ack_latency_us", "p50"), "acknowledged, p50, us", 1, 0),
    (("produced", "ack_latency_us", "p99"), "acknowledged, p99, us", 1, 0),
    (("produced", "ack_latency_us", "p999"), "acknowledged, p99.9, us", 1, 0),
    (("server_cpu_us_per_record",), "server CPU a record, us", 1, 3),
)
DURABILITY = {
    "flushed": "every batch or message is on the disk before it is acknowledged, on all sides",
    "unflushed": "acknowledged before it is on the disk, on all sides",
}


def machine():
    def first(path, key):
        for line in Path(path).read_text().splitlines():
            if line.startswith(key):
                return line.split(":", 1)[1].strip()
        return "unknown"

    memory = int(first("/proc/meminfo", "MemTotal").split()[0]) / (1 << 20)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True).stdout.strip()
    return (f"{first('/proc/cpuinfo', 'model name')}, {os.cpu_count()} cores, {memory:.0f} GiB, Linux {platform.release().split('-')[0]}, "
            f"{time.strftime('%Y-%m-%d', time.gmtime())}, commit {commit}.")


def limits_table(folder):
    numbers = {}
    for one in sorted(folder.glob("limits.*")):
        for title, value, unit in limit_numbers(one):
            numbers.setdefault((title, unit), []).append(value)
    if not numbers:
        return "Limits of the machine: not measured, since fio, iperf3 and sockperf are not installed.\n"
    lines = ["| limit of the machine, before each round | median (lowest..highest) |", "|---|---|"]
    lines += [f"| {title} | {shown(found, 1, 0)} {unit} |" for (title, unit), found in numbers.items()]
    return "\n".join(lines) + "\n"


def table(folder, peers):
    results = {peer: rounds_of(folder, peer) for peer in peers}
    lines = ["| | " + " | ".join(TITLES[peer] for peer in peers) + " |", "|---|" + "---|" * len(peers)]
    for path, title, divisor, decimals in ROWS:
        columns = {peer: values(results[peer], path) for peer in peers}
        ours = columns[peers[0]]
        cells = []
        for peer in peers:
            cell = shown(columns[peer], divisor, decimals)
            if peer != peers[0] and ours and columns[peer] and statistics.median(columns[peer]):
                cell += f"; Corelane has {statistics.median(ours) / statistics.median(columns[peer]):,.3g} x"
            cells.append(cell)
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    rounds = ", ".join(f"{TITLES[peer]} {len(results[peer])}" for peer in peers)
    faults = sum(at(result, ("verification", fault)) or 0 for peer in peers for result in results[peer] for fault in FAULTS)
    refused = sum(at(result, ("produced", "failed_records")) or 0 for peer in peers for result in results[peer])
    return "\n".join(lines) + f"\n\nRounds: {rounds}. Records refused: {refused:,.0f}. Faults: {faults:,.0f}.\n"


def spread(folder, peer, path):
    found = values(rounds_of(folder, peer), path)
    return (TITLES[peer], min(found), statistics.median(found), max(found)) if found else None


def plots(folder, tables, loads, peers, directory):
    """Writes the plots that there is data for; their names."""
    written = []
    for name, title, unit, path in (
        ("throughput", "Records a second (more is better)", "records/s", ("produced", "records_per_second")),
        ("latency", "Acknowledged within, p99 (less is better)", "us", ("produced", "ack_latency_us", "p99")),
    ):
        for durability in tables:
            groups = []
            for load in loads:
                rows = [spread(folder / durability / load.name, peer, path) for peer in peers]
                groups.append((load.title, [row for row in rows if row]))
            svg = plot.bars(f"{title}, {durability}", unit, groups)
            if svg:
                directory.mkdir(parents=True, exist_ok=True)
                file = f"race-{name}-{durability}.svg"
                (directory / file).write_text(svg)
                written.append(file)
    return written


def section(folder, tables, loads, peers, command, plot_names):
    parts = [f"## The race: {', '.join(TITLES[peer] for peer in peers)}",
             f"`{command}`. {machine()}",
             "Each server on one core, its load on others, rounds interleaved: median (lowest..highest) of the rounds. Corelane and Kafka have the "
             "same client, corelane-loadgen. JetStream has a Go client that publishes single messages, as its clients do, up to 64 of each "
             "producer under way.",
             limits_table(folder)]
    for durability in tables:
        for load in loads:
            parts += [f"### {load.title}, {durability}", f"{DURABILITY[durability][0].upper()}{DURABILITY[durability][1:]}.",
                      table(folder / durability / load.name, peers)]
    parts += [f"![{name}](plots/{name})" for name in plot_names]
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def put_into(results, text):
    """Puts the text in the place of what was written before, or at the end."""
    block = f"{BEGIN}\n{text}{END}\n"
    page = results.read_text() if results.exists() else "# Results\n"
    if BEGIN in page and END in page:
        before, rest = page.split(BEGIN, 1)
        after = rest.split(END, 1)[1].lstrip("\n")
        page = before + block + (f"\n{after}" if after else "")
    else:
        page = page.rstrip("\n") + "\n\n" + block
    results.write_text(page)
