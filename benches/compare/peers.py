"""The servers of a race and how each is loaded: Corelane, Apache Kafka and NATS JetStream, one at a time, on one core."""

import json
import os
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
START_SECONDS_MAX = 60
STOP_SECONDS_MAX = 30
# More records than a race takes: the log is flushed as it goes, and nobody waits for it.
UNFLUSHED_TOPIC = "flush.messages=1000000000000"


@dataclass(frozen=True)
class Load:
    """What producers do."""
    name: str
    title: str
    record_size_bytes: int
    batch_size_bytes: int  # 0: one record a batch
    producers: int
    in_flight: int
    partitions: int

    def messages_in_flight(self):
        """For a producer that publishes them one by one: what keeps JetStream busy. More only waits longer."""
        return min(64, self.in_flight * max(1, self.batch_size_bytes // self.record_size_bytes))

    def loadgen_flags(self):
        batch = ["--batch-size", str(self.batch_size_bytes)] if self.batch_size_bytes else ["--batch-records", "1"]
        return ["--record-size", str(self.record_size_bytes), *batch, "--producers", str(self.producers), "--in-flight",
                str(self.in_flight), "--partitions", str(self.partitions), "--consumers", "0", "--verify=never"]


LOADS = (
    Load("small", "100-byte records, batches of 16 KiB, 16 producers", 100, 16 << 10, 16, 5, 4),
    Load("large", "1 KiB records, batches of 64 KiB, 16 producers", 1 << 10, 64 << 10, 16, 8, 4),
    Load("alone", "100-byte records, one at a time, one producer", 100, 0, 1, 1, 1),
)


@dataclass(frozen=True)
class Run:
    """Where and how long a load runs."""
    server_core: int
    load_cores: str
    warmup_s: float
    duration_s: float
    binaries: Path


class Failed(Exception):
    """A server or a load did not do what it was to do."""


class Server:
    """A server process; stopped, and its data removed, at the end of the block."""

    def __init__(self, command, folder, name):
        self.command, self.folder, self.name = command, folder, name
        self.process = None

    def __enter__(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        output = self.folder.with_name(self.folder.name + ".out")
        errors = self.folder.with_name(self.folder.name + ".err")
        with output.open("w") as out, errors.open("w") as err:
            # A group of its own: Ctrl-C reaches the race alone, which then stops it in order.
            self.process = subprocess.Popen(self.command, stdout=out, stderr=err, stdin=subprocess.DEVNULL, start_new_session=True)
        deadline = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < deadline:
            for line in output.read_text().splitlines():
                if line.startswith("ready "):
                    self.address = line.split()[1]
                    return self
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        self.__exit__()
        raise Failed(f"{self.name} was not ready: {errors.read_text()[-2000:]}")

    def cpu_seconds(self):
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        subprocess.run(["rm", "-rf", str(self.folder)], check=True)


def free_port():
    # Below the ports that outgoing connections take.
    for port in range(20000 + os.getpid() % 5000, 32000):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise Failed("no free port")


def corelane(flushed, folder, run):
    del flushed  # A topic says how durable it is.
    return [str(run.binaries / "corelane"), "serve", "--data-dir", str(folder), "--host", "127.0.0.1", "--base-port", str(free_port()),
            "--cores", str(run.server_core), "--admin-address", "off"]


def kafka(flushed, folder, run):
    return [str(HERE / "kafka"), "--flushed" if flushed else "--unflushed", "--cores", str(run.server_core), "--data-dir", str(folder)]


def jetstream(flushed, folder, run):
    return [str(HERE / "jetstream"), "--flushed" if flushed else "--unflushed", "--cores", str(run.server_core), "--data-dir",
            str(folder)]


def kafka_load(load, flushed, address, output, run, peer):
    command = [str(run.binaries / "corelane-loadgen"), "run", "--bootstrap", address, "--cores", run.load_cores, "--json", str(output),
               "--warmup", f"{run.warmup_s:g}s", "--duration", f"{run.duration_s:g}s", *load.loadgen_flags()]
    if peer != "kafka" and not flushed:
        command += ["--topic-config", UNFLUSHED_TOPIC]
    if peer == "native":
        command += ["--protocol", "native"]
    return command


def jetstream_load(load, address, output, run):
    return [str(HERE / "jetstream"), "--load", "--cores", run.load_cores, "--url", address, "--json", str(output), "--warmup",
            f"{run.warmup_s:g}s", "--duration", f"{run.duration_s:g}s", "--record-size", str(load.record_size_bytes), "--producers",
            str(load.producers), "--in-flight", str(load.messages_in_flight()), "--partitions", str(load.partitions)]


SERVERS = {"corelane": corelane, "native": corelane, "kafka": kafka, "jetstream": jetstream}
# Seconds that a run takes beside its load: to start, to make topics, to stop.
OVERHEAD_SECONDS = {"corelane": 3, "native": 3, "kafka": 14, "jetstream": 3}


def measure(peer, load, flushed, output, run):
    """One run; its result is in `output`. Raises Failed."""
    folder = output.with_suffix(".data")
    with Server(SERVERS[peer](flushed, folder, run), folder, peer) as server:
        if peer == "jetstream":
            command = jetstream_load(load, server.address, output, run)
        else:
            command = kafka_load(load, flushed, server.address, output, run, peer)
        before = server.cpu_seconds()
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                  timeout=run.warmup_s + run.duration_s + 90)
        except subprocess.TimeoutExpired:
            raise Failed(f"the load on {peer} did not end") from None
        spent = server.cpu_seconds() - before
    # A run that was measured and found fault with counts all the same, and says so.
    if not output.exists():
        raise Failed(f"the load on {peer} failed: {done.stdout[-2000:]}")
    result = json.loads(output.read_text())
    acknowledged = result.get("verification", {}).get("acknowledged")
    if acknowledged:
        result["server_cpu_us_per_record"] = spent * 1e6 / acknowledged
    output.write_text(json.dumps(result))
