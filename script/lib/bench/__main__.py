"""Measures the release binary and prints a table in Markdown; script/bench builds what it needs.

Every figure is the median of several rounds, with the smallest and the largest in brackets. Where something is compared, both
are measured in each round, one after the other, and the ratio is the median of the rounds' ratios: machines are noisy.
"""

import argparse
import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

START_SECONDS_MAX = 60
REQUEST_SECONDS_MAX = 60
CONNECTIONS = (64, 256)
FOODS = 100
TICKS = os.sysconf("SC_CLK_TCK")

LUA = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
local foods = {}
for i = 1, %d do foods[i] = wrk.format(nil, nil, nil, string.format('{"food":"food %%d"}', i)) end
local i = 0
request = function() i = i %% #foods + 1; return foods[i] end
""" % FOODS


class Server:
    """A process under measurement, with a directory of its own."""

    def __init__(self, command, address, home, env=None):
        self.address, self.home = address, home
        log = open(home / "server.log", "ab")
        self.process = subprocess.Popen(command, cwd=home, env={**os.environ, **(env or {})}, stdout=log, stderr=log)

    def get(self, path, headers=None):
        connection = http.client.HTTPConnection(self.address, timeout=REQUEST_SECONDS_MAX)
        with contextlib.closing(connection):
            connection.request("GET", path, headers=headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read()

    def until(self, path, seconds):
        """Waits until the path answers 200, and says how long it took."""
        start = time.monotonic()
        while time.monotonic() - start < seconds:
            if self.process.poll() is not None:
                raise SystemExit(f"the server ended: see {self.home}/server.log")
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.get(path)[0] == 200:
                    return time.monotonic() - start
            time.sleep(0.005)
        raise SystemExit(f"{path} did not answer 200 within {seconds} s")

    def cpu_seconds(self):
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(START_SECONDS_MAX)


def free_address():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{taken.getsockname()[1]}"


@contextlib.contextmanager
def refold(options, home, path="/readyz", seconds=START_SECONDS_MAX):
    address = free_address()
    env = {"REFOLD__DATA_DIR": str(home / "data"), "REFOLD__HTTP__LISTEN": address, "REFOLD__TELEMETRY__LOG": "warn"}
    server = Server([options.refold, "serve"], address, home, env)
    try:
        server.ready_after = server.until(path, seconds)
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def ceiling(options, home):
    address = free_address()
    server = Server([options.ceiling, address], address, home)
    try:
        server.until("/nothing", START_SECONDS_MAX)
        yield server
    finally:
        server.process.kill()
        server.process.wait()


def load(server, options, connections, path, script=None):
    """Requests a second, and the share of one core that the server took."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{options.seconds}s"]
    command += ["-s", str(script)] if script else []
    before, start = server.cpu_seconds(), time.monotonic()
    said = subprocess.run([*command, f"http://{server.address}{path}"], check=True, capture_output=True, text=True).stdout
    share = (server.cpu_seconds() - before) / (time.monotonic() - start)
    if re.search(r"Non-2xx|Socket errors", said):
        raise SystemExit(f"not every request was answered well:\n{said}")
    return float(re.search(r"Requests/sec:\s+([\d.]+)", said)[1]), share


def post(options, home):
    """Single commands against a typed endpoint that does nothing."""
    script = home / "foods.lua"
    script.write_text(LUA)
    for connections in CONNECTIONS:
        figures = []
        for _ in range(options.rounds):
            with ceiling(options, home) as server:
                reference, _ = load(server, options, connections, "/foods", script)
            with fresh(home), refold(options, home) as server:
                rate, share = load(server, options, connections, "/foods", script)
                check_total(server, rate * options.seconds)
            figures.append((rate, share, rate / reference, reference))
        rates, shares, ratios, references = zip(*figures)
        yield f"`POST /foods`, {connections} connections", "commands/s", rates, shares, ratios
        yield f"the same, doing nothing, {connections} connections", "requests/s", references, None, None


def check_total(server, about):
    """What was acknowledged must be counted: wrk does not tell exactly how much that was, but about."""
    deadline = time.monotonic() + REQUEST_SECONDS_MAX
    while time.monotonic() < deadline:
        total = counted(server)
        if total >= about * 0.99:
            return
        time.sleep(0.05)
    raise SystemExit(f"only {total} of about {about:.0f} commands are counted")


def counted(server):
    return sum(row["count"] for row in json.loads(server.get("/aggregated")[1]))


@contextlib.contextmanager
def fresh(home):
    shutil.rmtree(home / "data", ignore_errors=True)
    yield


def shown(figures, unit):
    form = "{:,.0f}"
    median = form.format(statistics.median(figures))
    return f"{median} {unit} ({form.format(min(figures))} to {form.format(max(figures))})"


def table(rows):
    print("| what | median (spread) | cores taken | of doing nothing |")
    print("|---|---|---|---|")
    for what, unit, figures, shares, ratios in rows:
        share = f"{statistics.median(shares):.2f}" if shares else ""
        ratio = f"{statistics.median(ratios):.2f}" if ratios else ""
        print(f"| {what} | {shown(figures, unit)} | {share} | {ratio} |", flush=True)


def main():
    parts = {"post": post}
    parser = argparse.ArgumentParser(prog="script/bench", description=__doc__)
    parser.add_argument("--refold", required=True, type=lambda path: str(Path(path).resolve()), help=argparse.SUPPRESS)
    parser.add_argument("--ceiling", required=True, type=lambda path: str(Path(path).resolve()), help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=5, help="how often each figure is measured")
    parser.add_argument("--seconds", type=int, default=5, help="how long each load takes")
    parser.add_argument("parts", nargs="*", metavar="part", help=f"of {', '.join(parts)}; all unless said")
    options = parser.parse_args()
    unknown = [part for part in options.parts if part not in parts]
    if unknown:
        parser.error(f"unknown part {unknown[0]!r}; known: {', '.join(parts)}")
    version = subprocess.run(["wrk", "-v"], capture_output=True, text=True).stdout.splitlines()[0]
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    print(f"{os.cpu_count()} cores ({model[1] if model else 'unknown'}), shared with the load: {version.split('[')[0].strip()}, "
          f"{options.rounds} rounds of {options.seconds} s\n")
    with tempfile.TemporaryDirectory(prefix="refold-bench-") as home:
        table(row for name, measure in parts.items() if not options.parts or name in options.parts
              for row in measure(options, Path(home)))


if __name__ == "__main__":
    main()
