"""How long it takes from a command until it shows in the view, at half of the highest load."""

import statistics
import time

from figures import Row
from load import beside, posting_foods, rate_of, wrk, wrk_command
from server import fresh

CONNECTIONS, CONNECTIONS_OF_HALF = 64, 256
# What a request takes at half load, about; the rest of its turn a connection pauses.
ANSWER_MS = 1
PERCENTILES = (50, 99)


def measure(options, home):
    rows = {percentile: Row(f"`POST /foods` until `GET /aggregated` shows it, at half load, p{percentile}", "ms", [], digits=2)
            for percentile in PERCENTILES}
    load = Row("the load beside it; the reference: the highest", "commands/s", [])
    for _ in range(options.rounds):
        with fresh(options, home) as server:
            highest, _ = wrk(server, CONNECTIONS, options.seconds, "/foods", posting_foods(home))
        script = posting_foods(home, round(2_000 * CONNECTIONS_OF_HALF / highest) - ANSWER_MS)
        with fresh(options, home) as server:
            command = wrk_command(server, CONNECTIONS_OF_HALF, options.seconds, "/foods", script)
            with beside(command) as half:
                took = [one * 1_000 for one in probe(server, half)]
                rate = rate_of(half)
        load.figures.append(rate)
        load.ratios.append(rate / highest)
        cuts = statistics.quantiles(took, n=100, method="inclusive")
        for percentile, row in rows.items():
            row.figures.append(cuts[percentile - 1])
    yield from rows.values()
    yield load


def probe(server, load):
    """One command after the other, as long as the load lasts: how long each took until a query showed it."""
    with server.connection() as connection:
        while load.poll() is None:
            start = time.monotonic()
            connection.request("POST", "/foods", b'{"food":"probe"}', {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            receipt = answer.getheader("Refold-Receipt")
            connection.request("GET", "/aggregated?limit=1", headers={"Refold-Receipt": receipt, "Prefer": "wait=10"})
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                raise SystemExit(f"a query was answered {answer.status}")
            yield time.monotonic() - start
