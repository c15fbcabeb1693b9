"""Read models on Redis: folded from a log in a file, from NATS by one process and by two, and queried."""

import contextlib
import subprocess
import time
from pathlib import Path

import brokers
import queries
from figures import Row
from fold import feed, fold
from kinds import DETECTION, FOOD
from server import Server, embedded, empty_store, free_address, fresh

ROOT = Path(__file__).resolve().parents[3]
REDIS = brokers.Broker("redis", 1, "REFOLD__REDIS__SERVERS")
FOLDED, FOLDED_ROWS = 5_000_000, 1_000_000
PROCESSES = (1, 2)
FOLD_SECONDS_MAX = 600
ASKED = 100_000


def measure(options, home):
    with REDIS.server(home) as address:
        until_served(address)
        store = {"REFOLD__STORE__KIND": "redis", "REFOLD__REDIS__SERVERS": address}
        yield from folded(options, home, store)
        yield from shared(options, home, store)
        yield from asked(options, home, store, address)


def folded(options, home, store):
    for kind, events in ((FOOD, FOLDED), (DETECTION, FOLDED_ROWS)):
        row = Row(f"folding {events:,} events of `{kind.path}` from a log in a file into Redis", "events/s", [])
        with embedded(home) as settings:
            settings = {**settings, **store}
            feed(options, home, settings, kind, events)
            for _ in range(options.rounds):
                fold(options, home, settings, kind, events, row)
        empty_store(options, home, **store)
        yield row


def shared(options, home, store):
    """One log on NATS, folded by one process, then by two that share it."""
    nats = brokers.BROKERS["nats"]
    with nats.server(home) as address, nats.log(address, home) as settings:
        settings = {**settings, **store}
        feed(options, home, settings, FOOD, FOLDED)
        for processes in PROCESSES:
            row = Row(f"folding {FOLDED:,} events of `{FOOD.path}` from NATS into Redis, {processes} projectors", "events/s", [])
            for _ in range(options.rounds):
                empty_store(options, home, **settings)
                row.figures.append(FOLDED / together(options, home, settings, processes))
            yield row
        empty_store(options, home, **settings)


def together(options, home, settings, processes):
    """How long so many projectors take that begin at the same time."""
    start = time.monotonic()
    with contextlib.ExitStack() as running:
        begun = [running.enter_context(begin(options, home, settings, number)) for number in range(processes)]
        for server in begun:
            server.until("/readyz", FOLD_SECONDS_MAX)
        return time.monotonic() - start


@contextlib.contextmanager
def begin(options, home, settings, number):
    """A process that only folds, with a directory of its own."""
    address = free_address()
    env = {**settings, "REFOLD__HTTP__LISTEN": address, "REFOLD__TELEMETRY__LOG": "warn", "REFOLD__ROLE": "projector",
           "REFOLD__DATA_DIR": str(home / f"projector{number}")}
    server = Server([options.refold, "serve"], address, home, env)
    try:
        yield server
    finally:
        server.stop()


def asked(options, home, store, address):
    """Queries, and what Redis itself answers of the same data, asked by its own client."""
    questions = {
        "/stats": ("values/view/vehicles_per_make", lambda key: ["HGETALL", key]),
        queries.PAGED: ("order/view/detections", page),
    }
    raw = {path: Row(f"Redis alone: what `GET {path}` needs of all partitions", "answers/s", []) for path in questions}

    def beside():
        for path, question in questions.items():
            raw[path].figures.append(alone(address, *question))

    with fresh(options, home, **store) as server:
        queries.load(server)
        yield from queries.asked(options, home, server, " in Redis", beside)
        yield from raw.values()


def page(key):
    return ["ZRANGE", key, "+", "-", "BYLEX", "REV", "LIMIT", "0", "101"]


def alone(address, kind, question):
    """How often a second one such question of each partition is answered."""
    keys = [key for key in tool(address, "redis-cli", "--scan", "--pattern", f"*/{kind}/*").splitlines() if key]
    said = tool(address, "redis-benchmark", "-c", str(queries.CONNECTIONS), "-n", str(ASKED), "--csv", *question(keys[0]))
    return float(said.splitlines()[-1].split('","')[1].strip('"')) / len(keys)


def tool(address, program, *arguments):
    command = [str(ROOT / "script/brokers"), "exec", "redis", program, "-p", address.rsplit(":", 1)[1], *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def until_served(address):
    while tool(address, "redis-cli", "ping").strip() != "PONG":
        time.sleep(brokers.POLL_SECONDS)
