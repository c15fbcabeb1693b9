"""A log folded from its start into an empty store."""

from figures import Row
from kinds import FOOD, PURCHASE
from load import post_lines, wait_folded
from server import embedded, empty_store, refold

CONNECTIONS = 2
FOLD_SECONDS_MAX = 600
SIZES = ((FOOD, 1_000_000), (FOOD, 5_000_000), (FOOD, 20_000_000), (PURCHASE, 1_000_000), (PURCHASE, 5_000_000))


def measure(options, home):
    for kind, events in SIZES:
        row = Row(f"folding {events:,} events of `{kind.path}` from the start", "events/s", [])
        with embedded(home) as settings:
            feed(options, home, settings, kind, events)
            for _ in range(options.rounds):
                fold(options, home, settings, kind, events, row)
        yield row


def feed(options, home, settings, kind, events):
    """Fills a log."""
    with refold(options, home, **settings) as server:
        receipts = post_lines(server, kind.path, kind.bodies(events), CONNECTIONS)
        wait_folded(server, f"/views/{kind.view}?limit=1", receipts)


def fold(options, home, settings, kind, events, row):
    """Folds it again, for one more figure."""
    empty_store(options, home, **settings)
    with refold(options, home, FOLD_SECONDS_MAX, **settings) as server:
        row.figures.append(events / server.ready_after)
        row.shares.append(server.cpu_seconds() / server.ready_after)
        row.memory.append(server.memory_peak())
        kind.check(server, events)
