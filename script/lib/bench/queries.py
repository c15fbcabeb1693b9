"""Queries with many rows behind them, against one that does nothing."""

import json
import urllib.parse

from figures import Row
from kinds import DETECTION
from load import post_lines, wait_folded, wrk
from server import ceiling, fresh

ROWS = 1_000_000
CONNECTIONS, LOADERS = 64, 2
LIMIT = 100
PAGE = 10_000
PAGED = f"/detections?limit={LIMIT}"


def measure(options, home):
    with fresh(options, home) as server:
        receipts = post_lines(server, DETECTION.path, DETECTION.bodies(ROWS), LOADERS)
        wait_folded(server, "/stats", receipts)
        wait_folded(server, PAGED, receipts)
        DETECTION.check(server, ROWS)
        last = f"{PAGED}&cursor={cursor(server, PAGE)}"
        nothing = Row("the reference: a query that does nothing", "requests/s", [])
        rows = {
            "/stats": Row(f"`GET /stats`, {ROWS:,} rows", "requests/s", []),
            PAGED: Row(f"`GET {PAGED}`, {ROWS:,} rows", "requests/s", []),
            last: Row(f"the same, page {PAGE:,}, by cursor", "requests/s", []),
        }
        for _ in range(options.rounds):
            with ceiling(options, home) as idle:
                reference, _ = wrk(idle, CONNECTIONS, options.seconds, "/nothing?limit=100")
            nothing.figures.append(reference)
            for path, row in rows.items():
                rate, share = wrk(server, CONNECTIONS, options.seconds, path)
                row.figures.append(rate)
                row.shares.append(share)
                row.memory.append(server.memory_peak())
                row.ratios.append(rate / reference)
        yield from rows.values()
        yield nothing


def cursor(server, page):
    """The cursor of the page of this number; the first page has none."""
    path = PAGED
    with server.connection() as connection:
        for _ in range(page - 1):
            connection.request("GET", path, headers=server.headers)
            found = urllib.parse.quote(json.loads(connection.getresponse().read())["next"])
            path = f"{PAGED}&cursor={found}"
    return found
