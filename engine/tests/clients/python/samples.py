"""Records that exercise what a record may hold, and their comparison with what came back."""

import random
import time
from collections import namedtuple

Sample = namedtuple("Sample", "key value headers timestamp_ms")

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")

# Hours ago, so that it cannot be confused with the time of the broker; not so long that retention takes the records.
FIRST_TIMESTAMP_MS = int(time.time() - 6 * 3600) * 1000

MEBIBYTE = 1024 * 1024


def varied(count=120):
    """Null, empty, binary and repetitive keys and values; no headers, duplicate headers, null and empty headers."""
    header_sets = (
        [],
        [("trace", b"1")],
        [("same", b"first"), ("same", b"second"), ("same", b"first")],
        [("null", None), ("empty", b""), ("binary", bytes(range(256)))],
        [("größe", "höhe".encode())],
    )
    keys = (None, b"key", b"", bytes(range(256)), "schlüssel".encode())
    samples = []
    for i in range(count):
        value = (None, b"", b"value-%d" % i, bytes([i % 256]) * 700, (b"repeat me " * 90))[i % 5]
        samples.append(Sample(keys[(i // 5) % 5], value, header_sets[(i // 3) % 5], FIRST_TIMESTAMP_MS + i * 10))
    return samples


def pseudo_random(size_bytes, seed=1):
    """Bytes that no codec shortens much."""
    return random.Random(seed).randbytes(size_bytes)


def difference(got, expected):
    """What differs between two samples, short enough to print; None if nothing does."""
    for field in Sample._fields:
        got_field, expected_field = getattr(got, field), getattr(expected, field)
        if got_field != expected_field:
            return f"{field}: got {repr(got_field)[:200]}, expected {repr(expected_field)[:200]}"
    return None


def assert_all_same(got, expected):
    assert len(got) == len(expected), f"got {len(got)} records, expected {len(expected)}"
    for index, (one, other) in enumerate(zip(got, expected)):
        problem = difference(one, other)
        assert problem is None, f"record {index}: {problem}"
