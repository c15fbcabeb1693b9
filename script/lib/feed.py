"""Feeds the release binary as fast as it goes, and checks that its views have exactly what was accepted, in flat memory.

script/soak builds what it needs and records the last lines that this prints.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# What starts services is the bench's.
sys.path.insert(0, str(Path(__file__).parent / "bench"))
from server import REQUEST_SECONDS_MAX, refold

SAMPLE_SECONDS = 1
CONNECTIONS = 256
# How much more memory the service may hold at the end than when it was warm: a leak grows with every command.
GROWTH_MAX = 1.25
# What the built-in views do not count.
DEFINITIONS = {"all_introductions": "introduction.introduced", "all_purchases": "purchase.recorded"}


def definitions(home):
    directory = home / "definitions"
    directory.mkdir()
    for name, event in DEFINITIONS.items():
        (directory / f"{name}.toml").write_text(f'name = "{name}"\non = "{event}"\ncount = {{}}\n')
    return str(directory)


def memory(server):
    """How much memory is resident now, in MiB."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) / 1024


def fed(options, server):
    """The summary, and how much memory the service held all the while."""
    command = [options.refold, "feed", "--url", f"http://{server.address}", "--rate", "max", "--for", f"{options.seconds}s", "--json"]
    command += ["--connections", str(CONNECTIONS)]
    env = {**os.environ, "REFOLD_TOKEN": server.token}
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as feed:
        try:
            held = [memory(server)]
            while feed.poll() is None:
                time.sleep(SAMPLE_SECONDS)
                held.append(memory(server))
            return json.loads(feed.stdout.read()), held
        finally:
            feed.kill()


def counted(server, receipts):
    """What the views have, as soon as they have all that these receipts are for."""
    headers = {"Refold-Receipt": ",".join(receipts), "Prefer": "wait=30"}

    def get(path):
        deadline = time.monotonic() + REQUEST_SECONDS_MAX
        while True:
            status, body = server.get(path, headers)
            if status == 200:
                return json.loads(body)
            if status != 503 or time.monotonic() > deadline:
                raise SystemExit(f"{path} answers {status}: {body.decode()}")

    return {
        "introductions": get("/views/all_introductions")["data"][0]["count"],
        "foods": sum(row["count"] for row in get("/aggregated")),
        "purchases": get("/views/all_purchases")["data"][0]["count"],
        "detections": sum(row["count"] for row in get("/stats")["data"]),
        "pictures": get("/pictures/stats")["count"],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--refold", required=True, type=lambda path: str(Path(path).resolve()))
    parser.add_argument("--seconds", required=True, type=int, help="how long to feed")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="refold-feed-", dir="target") as directory:
        home = Path(directory).resolve()
        with refold(options, home, REFOLD__PROJECTIONS__DIR=definitions(home)) as server:
            summary, held = fed(options, server)
            views, peak = counted(server, summary["receipts"]), server.memory_peak()
        print((home / "server.log").read_text(errors="replace"), end="")
    print(json.dumps(summary))
    accepted = {system: line["accepted"] for system, line in summary["systems"].items()}
    tenth = max(1, len(held) // 10)
    warm, end = statistics.median(held[2 * tenth:3 * tenth]), statistics.median(held[-tenth:])
    wrong = [] if summary["complete"] else ["not all was recorded"]
    wrong += [] if views == accepted else [f"the views have {views}"]
    wrong += [] if end <= warm * GROWTH_MAX else ["memory grows"]
    middle = statistics.median(held[len(held) // 2:len(held) // 2 + tenth])
    total = summary["total"]
    print(f"commands {total['accepted']}")
    print(f"notes {summary['rate']:,.0f} a second, p99 {total['p99_ms']:.0f} ms; resident MiB {held[0]:.0f} at the start, {warm:.0f} warm, "
          f"{middle:.0f} in the middle, {end:.0f} at the end, {peak:.0f} at most; {', '.join(wrong) or 'totals exact'}")
    if wrong:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
