"""A log folded from its start into an empty store."""

from figures import Row
from kinds import FOOD, PURCHASE
from load import post_lines, wait_folded
from server import empty_store, fresh, refold

CONNECTIONS = 2
FOLD_SECONDS_MAX = 600
SIZES = ((FOOD, 1_000_000), (FOOD, 5_000_000), (FOOD, 20_000_000), (PURCHASE, 1_000_000), (PURCHASE, 5_000_000))


def measure(options, home):
    for kind, events in SIZES:
        with fresh(options, home) as server:
            receipts = post_lines(server, kind.path, kind.bodies(events), CONNECTIONS)
            wait_folded(server, f"/views/{kind.view}?limit=1", receipts)
        row = Row(f"folding {events:,} events of `{kind.path}` from the start", "events/s", [])
        for _ in range(options.rounds):
            empty_store(options, home)
            with refold(options, home, FOLD_SECONDS_MAX) as server:
                row.figures.append(events / server.ready_after)
                row.shares.append(server.cpu_seconds() / server.ready_after)
                row.memory.append(server.memory_peak())
                kind.check(server, events)
        yield row
