"""Sums up a race: medians, spread and ratios of its rounds, beside the limits of the machine, as Markdown.

Usage: summary.py FOLDER FLUSHED-OR-UNFLUSHED LOAD-FLAGS
"""

import json
import re
import statistics
import sys
from pathlib import Path

# Where in the load generator's JSON, what it is called, divided by, decimals, and whether more is better.
ROWS = (
    (("produced", "records_per_second"), "records/s produced", 1, 0, True),
    (("produced", "bytes_per_second"), "MB/s produced", 1e6, 1, True),
    (("produced", "ack_latency_us", "p50"), "acknowledged within, p50, us", 1, 0, False),
    (("produced", "ack_latency_us", "p99"), "acknowledged within, p99, us", 1, 0, False),
    (("produced", "ack_latency_us", "p999"), "acknowledged within, p99.9, us", 1, 0, False),
    (("consumed", "end_to_end_latency_us", "p50"), "end to end, p50, us", 1, 0, False),
    (("consumed", "end_to_end_latency_us", "p99"), "end to end, p99, us", 1, 0, False),
)
FAULTS = ("lost", "duplicated", "reordered", "corrupt")


def at(result, path):
    for key in path:
        result = result.get(key) if isinstance(result, dict) else None
    return result if isinstance(result, (int, float)) else None


def rounds_of(folder, peer):
    return [json.loads(path.read_text()) for path in sorted(folder.glob(f"{peer}.*.json"))]


def values(results, path):
    return [value for value in (at(result, path) for result in results) if value is not None]


def shown(numbers, divisor, decimals):
    if not numbers:
        return "-"
    median, low, high = (number / divisor for number in (statistics.median(numbers), min(numbers), max(numbers)))
    return f"{median:,.{decimals}f} ({low:,.{decimals}f}..{high:,.{decimals}f})"


def limit_numbers(folder):
    """The limits that benches/compare/limits left in a folder: what it is, the number, its unit."""
    def fio(name, direction):
        path = folder / name
        return json.loads(path.read_text())["jobs"][0][direction] if path.exists() else None

    if sequential := fio("disk-sequential.json", "write"):
        yield "disk, synced direct writes of 1 MiB, depth 4", sequential["bw_bytes"] / 1e6, "MB/s"
    if overwrite := fio("disk-overwrite.json", "write"):
        percentiles = overwrite["clat_ns"].get("percentile", {})
        for name, key in (("p50", "50.000000"), ("p99", "99.000000")):
            if key in percentiles:
                yield f"disk, one durable 4 KiB overwrite, {name}", percentiles[key] / 1000, "us"
    if read := fio("disk-read.json", "read"):
        yield "disk, direct reads of 1 MiB, depth 4", read["bw_bytes"] / 1e6, "MB/s"
    network = folder / "network.json"
    if network.exists() and (end := json.loads(network.read_text() or "{}").get("end")):
        received = end["sum_received"]["bits_per_second"] / 8e6
        cores = end["cpu_utilization_percent"]["remote_total"] / 100
        yield "loopback, one TCP stream", received, "MB/s"
        if cores > 0:
            yield "loopback, what a whole core could receive", received / cores, "MB/s"
    ping_pong = folder / "ping-pong.txt"
    if ping_pong.exists():
        # sockperf tells half of a round trip.
        half = dict(re.findall(r"percentile (50|99)\.000 = +([0-9.]+)", ping_pong.read_text()))
        for name, key in (("p50", "50"), ("p99", "99")):
            if key in half:
                yield f"loopback, a round trip of 64 bytes, {name}", 2 * float(half[key]), "us"


def limits(folder):
    for title, value, unit in limit_numbers(folder):
        yield f"{title}: {value:,.0f} {unit}"


def main():
    folder, manner, load = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    corelane, kafka = rounds_of(folder, "corelane"), rounds_of(folder, "kafka")
    print(f"Load: `{load}`. Kafka 4.3.1 {manner}, Corelane durable. Each server on one core, "
          f"{len(corelane)} and {len(kafka)} rounds, interleaved: median (lowest..highest).\n")
    print("| | Corelane | Kafka | ratio |\n|---|---|---|---|")
    for path, name, divisor, decimals, more_is_better in ROWS:
        ours, theirs = values(corelane, path), values(kafka, path)
        if not ours and not theirs:
            continue
        ratio = "-"
        if ours and theirs and statistics.median(ours) and statistics.median(theirs):
            quotient = statistics.median(ours) / statistics.median(theirs)
            ratio = f"{quotient:.2f} x" if more_is_better else f"{quotient:.3f} x"
        print(f"| {name} | {shown(ours, divisor, decimals)} | {shown(theirs, divisor, decimals)} | {ratio} |")
    for fault in FAULTS:
        counts = [sum(values(results, ("verification", fault))) for results in (corelane, kafka)]
        if any(counts):
            print(f"| records {fault} | {counts[0]} | {counts[1]} | |")
    print("\nLimits of the machine in the same run:")
    for line in list(limits(folder)) or ["not measured: fio, iperf3 and sockperf are not installed"]:
        print(f"- {line}")


if __name__ == "__main__":
    main()
