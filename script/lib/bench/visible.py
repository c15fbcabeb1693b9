"""How long it takes from a command until it shows in the view, at half of the highest load."""

import statistics
import time

from figures import Row
from load import beside, posting_foods, wrk
from server import fresh

CONNECTIONS = 64
PERCENTILES = (50, 99)


def measure(options, home):
    script = posting_foods(home)
    rows = {percentile: Row("", "ms", [], digits=2) for percentile in PERCENTILES}
    for _ in range(options.rounds):
        with fresh(options, home) as server:
            highest, _ = wrk(server, CONNECTIONS, options.seconds, "/foods", script)
        with fresh(options, home) as server:
            rate = int(highest / 2)
            feed = [options.refold, "feed", "--url", f"http://{server.address}", "--system", "foods",
                    "--rate", str(rate), "--for", f"{options.seconds + 2}s", "--json"]
            with beside(feed) as feeding:
                time.sleep(1)
                took = [one * 1000 for one in probe(server, options.seconds)]
                if feeding.poll() is not None:
                    raise SystemExit(f"the load ended early: {feeding.communicate()}")
        cuts = statistics.quantiles(took, n=100, method="inclusive")
        for percentile, row in rows.items():
            row.figures.append(cuts[percentile - 1])
            row.what = f"`POST /foods` until `GET /aggregated` shows it, beside {rate:,} commands/s, p{percentile}"
    yield from rows.values()


def probe(server, seconds):
    """One command after the other: how long each took from its first byte until a query showed it."""
    end = time.monotonic() + seconds
    with server.connection() as connection:
        while (start := time.monotonic()) < end:
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
