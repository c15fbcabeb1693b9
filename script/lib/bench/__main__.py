"""Measures the release binary and prints a table in Markdown; script/bench builds what it needs.

Every figure is the median of several rounds, with the smallest and the largest in brackets. Where something is compared, both
are measured in each round, one after the other, and the ratio is the median of the rounds' ratios: machines are noisy.
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import brokers
import fold
import lines
import logins
import post
import queries
import redis
import streams
import visible
from figures import table

PARTS = {module.__name__: module.measure for module in (post, lines, fold, visible, queries, streams, logins, brokers, redis)}


def main():
    options = asked()
    # So that what was begun is ended, and its data removed, also then.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by a signal"))
    print(machine(options) + "\n")
    with tempfile.TemporaryDirectory(prefix="refold-bench-") as home:
        table(row for part in options.parts or PARTS for row in PARTS[part](options, Path(home)))


def asked():
    parser = argparse.ArgumentParser(prog="script/bench", description=__doc__)
    parser.add_argument("--refold", required=True, type=lambda path: str(Path(path).resolve()), help=argparse.SUPPRESS)
    parser.add_argument("--ceiling", required=True, type=lambda path: str(Path(path).resolve()), help=argparse.SUPPRESS)
    parser.add_argument("--raw", required=True, type=lambda path: str(Path(path).resolve()), help=argparse.SUPPRESS)
    parser.add_argument("--broker", action="append", type=brokers.broker, metavar="NAME[@RELEASE]",
                        help=f"only this one in the part `brokers`, as script/brokers runs it; of {', '.join(brokers.BROKERS)}")
    parser.add_argument("--rounds", type=int, default=5, help="how often each figure is measured")
    parser.add_argument("--seconds", type=int, default=5, help="how long each load takes")
    parser.add_argument("parts", nargs="*", metavar="part", help=f"of {', '.join(PARTS)}; all unless said")
    options = parser.parse_args()
    unknown = [part for part in options.parts if part not in PARTS]
    if unknown:
        parser.error(f"unknown part {unknown[0]!r}; known: {', '.join(PARTS)}")
    return options


def machine(options):
    version = subprocess.run(["wrk", "-v"], capture_output=True, text=True).stdout.splitlines()[0].split("[")[0].strip()
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return (f"{os.cpu_count()} cores ({model[1] if model else 'unknown'}), shared with the load: {version} for requests that are "
            f"alike, Python's http.client for lines; {options.rounds} rounds, loads of {options.seconds} s")


if __name__ == "__main__":
    main()
