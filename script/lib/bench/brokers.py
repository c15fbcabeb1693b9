"""The log on real brokers, against what each gives to clients of its own; one server each, and a log without a past for each
figure."""

import argparse
import contextlib
import dataclasses
import functools
import itertools
import json
import random
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import lines
import post
from figures import Row
from fold import feed, fold
from kinds import FOOD
from load import posting_foods, wrk
from server import fresh

ROOT = Path(__file__).resolve().parents[3]
LINES = 2_000_000
FOLDED = 2_000_000
# One event a message, each about as large as one of ours; so many may be unconfirmed.
MESSAGES, MESSAGE_BYTES, WINDOW = 500_000, 300, 1_024
WARM_UP_CONNECTIONS, WARM_UP_SECONDS = 64, 20
START_SECONDS_MAX = 60
RAW_SECONDS_MAX = 300
POLL_SECONDS = 0.05
# The variable that has the name of the log.
NAME = "REFOLD__LOG__NAME"
# Below those that the kernel gives to clients, so that nobody takes one between its choice and the start.
PORTS = range(20_000, 32_000)
numbers = itertools.count(1)


@dataclasses.dataclass(frozen=True)
class Broker:
    """A kind of server, and how the service is pointed at one."""

    name: str
    ports: int
    # The variable that has its address, and what stands before it there.
    variable: str
    scheme: str = ""
    # A release that is not the usual one, as script/brokers takes it.
    release: str = ""

    def __str__(self):
        return f"{self.name}@{self.release}" if self.release else self.name

    @contextlib.contextmanager
    def server(self, home):
        """One of its own, which takes connections; its address. What it wrote is removed."""
        port = free_ports(self.ports)
        with tempfile.TemporaryDirectory(dir=home, ignore_cleanup_errors=True) as directory:
            # The process becomes the server, and ends with this program, however that ends.
            command = ["setpriv", "--pdeathsig", "KILL", str(ROOT / "script/brokers"), "run", str(self),
                       "--dir", f"{directory}/server", "--port", str(port)]
            log = Path(directory, "server.log")
            with log.open("wb") as said:
                process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
            try:
                until_taken(process, port, log)
                yield f"127.0.0.1:{port}"
            finally:
                process.kill()
                process.wait()

    @contextlib.contextmanager
    def log(self, address, home):
        """An empty log on a server: the settings that lead there."""
        shutil.rmtree(home / "data", ignore_errors=True)
        yield {"REFOLD_CONFIG": str(ROOT / f"config/{self.name}.toml"), self.variable: self.scheme + address, NAME: unused_name()}


BROKERS = {broker.name: broker for broker in (
    Broker("nats", 2, "REFOLD__NATS__SERVERS", "nats://"),
    Broker("kafka", 2, "REFOLD__KAFKA__BROKERS"),
    Broker("rabbit", 4, "REFOLD__RABBIT__SERVERS"),
)}


def broker(text):
    """The broker that somebody asks for."""
    name, _, release = text.partition("@")
    if name not in BROKERS:
        raise argparse.ArgumentTypeError(f"unknown broker {name!r}; known: {', '.join(BROKERS)}")
    return dataclasses.replace(BROKERS[name], release=release)


def measure(options, home):
    for one in options.broker or BROKERS.values():
        for row in of_broker(options, home, one):
            row.what = f"{one}: {row.what}"
            yield row


def of_broker(options, home, one):
    with one.server(home) as address:
        log = functools.partial(one.log, address)
        warm_up(options, home, log)
        yield from post.measure(options, home, log)
        yield lines.posted(options, home, FOOD, LINES, log)
        client = functools.partial(raw, options, one.name, address)
        yield produced(options, client)
        yield from folded(options, home, log, client)


def warm_up(options, home, log):
    """Java compiles what it runs often, and is several times slower until then."""
    with fresh(options, home, log) as server:
        wrk(server, WARM_UP_CONNECTIONS, WARM_UP_SECONDS, "/foods", posting_foods(home))


def produced(options, client):
    row = Row(f"a client of its own, one event of {MESSAGE_BYTES} bytes a message, {WINDOW:,} unconfirmed", "messages/s", [])
    for _ in range(options.rounds):
        done = client("produce", "--name", unused_name(), "--messages", MESSAGES, "--bytes", MESSAGE_BYTES, "--window", WINDOW)
        row.figures.append(MESSAGES / done["seconds"])
    return row


def folded(options, home, log, client):
    row = Row(f"folding {FOLDED:,} events of `{FOOD.path}` from the start", "events/s", [])
    reference = Row("the reference: a client of its own, which reads the same records and counts their bytes", "events/s", [])
    with log(home) as settings:
        feed(options, home, settings, FOOD, FOLDED)
        sizes = set()
        for _ in range(options.rounds):
            done = client("consume", "--name", settings[NAME])
            sizes.add((done["messages"], done["bytes"]))
            reference.figures.append(FOLDED / done["seconds"])
            fold(options, home, settings, FOOD, FOLDED, row)
            row.ratios.append(row.figures[-1] / reference.figures[-1])
    if len(sizes) > 1:
        raise SystemExit(f"the same log was read with different sizes: {sorted(sizes)}")
    (records, size), = sizes
    reference.what += f", {records:,} records of {size / records / 1024:,.0f} KiB"
    yield row
    yield reference


def raw(options, name, address, *arguments):
    """What a client that is none of ours has done, and how long it took."""
    command = [options.raw, name, address, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=RAW_SECONDS_MAX)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr}")
    return json.loads(done.stdout)


def unused_name():
    """For a log, or what is produced."""
    return f"bench{next(numbers)}"


def until_taken(process, port, log):
    """Waits until somebody takes connections at the port."""
    deadline = time.monotonic() + START_SECONDS_MAX
    while not is_taken(port):
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"the broker did not start:\n{log.read_text(errors='replace')[-2_000:]}")
        time.sleep(POLL_SECONDS)


def free_ports(count):
    """The first of so many in a row that nobody listens on."""
    while True:
        first = random.choice(PORTS)
        if not any(map(is_taken, range(first, first + count))):
            return first


def is_taken(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
