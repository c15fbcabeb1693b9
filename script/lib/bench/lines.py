"""Many commands a request (NDJSON): accepted, durable, folded and visible."""

import time

from figures import Row
from kinds import DETECTION, FOOD, PURCHASE
from load import post_lines, wait_folded
from server import embedded, fresh

CONNECTIONS = 2
LINES = ((FOOD, 4_000_000), (DETECTION, 1_000_000), (PURCHASE, 200_000))


def measure(options, home):
    for kind, lines in LINES:
        yield posted(options, home, kind, lines)


def posted(options, home, kind, lines, log=embedded):
    # Made before it is measured: this program's work would take from the service.
    sent = list(kind.bodies(lines))
    row = Row(f"`POST {kind.path}`, {kind.each:,} lines a request, until folded", "lines/s", [])
    for _ in range(options.rounds):
        with fresh(options, home, log) as server:
            before, start = server.cpu_seconds(), time.monotonic()
            receipts = post_lines(server, kind.path, sent, CONNECTIONS)
            wait_folded(server, f"/views/{kind.view}?limit=1", receipts)
            took = time.monotonic() - start
            row.figures.append(lines / took)
            row.shares.append((server.cpu_seconds() - before) / took)
            row.memory.append(server.memory_peak())
            kind.check(server, lines)
    return row
