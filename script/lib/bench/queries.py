"""Queries with many rows behind them, against one that does nothing."""

import json
import time
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


# Pages that somebody reads one after the other, the first of them and the last.
STRETCH = 100


def measure(options, home):
    with fresh(options, home) as server:
        load(server)
        yield from asked(options, home, server)


def load(server):
    receipts = post_lines(server, DETECTION.path, DETECTION.bodies(ROWS), LOADERS)
    wait_folded(server, "/stats", receipts)
    wait_folded(server, PAGED, receipts)
    DETECTION.check(server, ROWS)


def asked(options, home, server, where="", beside=lambda: None):
    """What is answered of what was loaded; `beside` is measured in each round, too."""
    first, later = (Row(f"reading one page after the other by cursor, pages {pages}{where}", "pages/s", [])
                    for pages in (f"2 to {STRETCH + 1}", f"{PAGE - STRETCH + 1:,} to {PAGE:,}"))
    for _ in range(options.rounds):
        last, times = walk(server, PAGE)
        first.figures.append(STRETCH / sum(times[:STRETCH]))
        later.figures.append(STRETCH / sum(times[-STRETCH:]))
    nothing = Row("the reference: a query that does nothing", "requests/s", [])
    rows = {
        "/stats": Row(f"`GET /stats`, {ROWS:,} rows{where}", "requests/s", []),
        PAGED: Row(f"`GET {PAGED}`, {ROWS:,} rows{where}", "requests/s", []),
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
        beside()
    yield from rows.values()
    yield nothing
    yield from (first, later)


def walk(server, page):
    """The path of the page of this number, and how long each one took that somebody reads on the way there; the first has no cursor."""
    path, times = PAGED, []
    with server.connection() as connection:
        for _ in range(page):
            asked_for, start = path, time.monotonic()
            connection.request("GET", path, headers=server.headers)
            body = connection.getresponse().read()
            times.append(time.monotonic() - start)
            if (found := json.loads(body).get("next")) is None:
                break
            path = f"{PAGED}&cursor={urllib.parse.quote(found)}"
    # The first page may have been asked for before.
    return asked_for, times[1:]
