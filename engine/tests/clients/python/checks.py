"""Named checks against a broker, run one after the other by a plain program.

A check is a function that takes a `Broker` and raises when something is wrong. Every check uses topics of its own, so
one that fails does not disturb the next, and the program reports all failures of one run.
"""

import sys
import time
import traceback
import uuid


class Broker:
    """What a check is given: where the broker is, and names that nothing else uses."""

    def __init__(self, bootstrap):
        self.bootstrap = bootstrap

    def topic_name(self, purpose):
        return f"{purpose}-{uuid.uuid4().hex[:12]}"


def eventually(what, probe, deadline_s=30.0):
    """Asks `probe` until it gives something truthy, which is returned. For what a broker may finish after answering."""
    end = time.monotonic() + deadline_s
    while True:
        result = probe()
        if result:
            return result
        assert time.monotonic() < end, f"not within {deadline_s} s: {what} (last seen: {result!r})"
        time.sleep(0.05)


def same(got, expected, what):
    assert got == expected, f"{what}: got {got!r}, expected {expected!r}"


def run(checks, client):
    """Runs the checks named on the command line, or all; exits with 1 if any failed. `client` is its name and version.

    Usage: PROGRAM BOOTSTRAP [CHECK]...
    """
    if len(sys.argv) < 2:
        sys.exit(f"usage: {sys.argv[0]} BOOTSTRAP [CHECK]...")
    broker, wanted = Broker(sys.argv[1]), sys.argv[2:]
    unknown = set(wanted) - {check.__name__ for check in checks}
    if unknown:
        sys.exit(f"no such check: {', '.join(sorted(unknown))}")
    print(f"client {client}", flush=True)
    failed = []
    for check in checks:
        if wanted and check.__name__ not in wanted:
            continue
        start = time.monotonic()
        try:
            check(broker)
            print(f"ok      {check.__name__} ({time.monotonic() - start:.2f} s)", flush=True)
        except Exception:
            failed.append(check.__name__)
            print(f"FAILED  {check.__name__} ({time.monotonic() - start:.2f} s)", flush=True)
            traceback.print_exc(file=sys.stdout)
    if failed:
        sys.exit(f"{len(failed)} failed: {', '.join(failed)}")
