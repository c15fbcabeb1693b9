"""The processes under measurement."""

import contextlib
import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

START_SECONDS_MAX = 60
REQUEST_SECONDS_MAX = 120
TOKEN_MINUTES = 24 * 60
TICKS = os.sysconf("SC_CLK_TCK")


class Server:
    """A process with a directory of its own."""

    def __init__(self, command, address, home, env=None):
        self.address, self.home = address, home
        # What says who asks, where anybody wants to know.
        self.headers = {}
        log = open(home / "server.log", "ab")
        self.process = subprocess.Popen(command, cwd=home, env={**os.environ, **(env or {})}, stdout=log, stderr=log)

    def connection(self):
        return contextlib.closing(http.client.HTTPConnection(self.address, timeout=REQUEST_SECONDS_MAX))

    def get(self, path, headers=None):
        """The status and the body."""
        with self.connection() as connection:
            connection.request("GET", path, headers={**self.headers, **(headers or {})})
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

    def memory_peak(self):
        """The most memory that was resident at any time, in MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(START_SECONDS_MAX)


def free_address():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{taken.getsockname()[1]}"


@contextlib.contextmanager
def refold(options, home, seconds=START_SECONDS_MAX, **settings):
    """A service that is ready, on what its directory holds; `ready_after` says how long it took."""
    address = free_address()
    env = {**of_data(home), "REFOLD__HTTP__LISTEN": address, "REFOLD__TELEMETRY__LOG": "warn", **settings}
    server = Server([options.refold, "serve"], address, home, env)
    try:
        server.ready_after = server.until("/readyz", seconds)
        server.token = token(options, home)
        server.headers = {"Authorization": f"Bearer {server.token}"}
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def embedded(home):
    """An empty log in the service's own directory: no settings are needed for it, and no server."""
    shutil.rmtree(home / "data", ignore_errors=True)
    yield {}


@contextlib.contextmanager
def fresh(options, home, log=embedded, **settings):
    """A service without a past, whose log is anew what `log` makes."""
    with log(home) as of_log, refold(options, home, **of_log, **settings) as server:
        yield server


@contextlib.contextmanager
def ceiling(options, home):
    """Endpoints that do nothing."""
    address = free_address()
    server = Server([options.ceiling, address], address, home)
    try:
        server.until("/nothing", START_SECONDS_MAX)
        yield server
    finally:
        server.process.kill()
        server.process.wait()


def token(options, home):
    """An operator's, good for longer than any measurement takes."""
    command = [options.refold, "token", "--minutes", str(TOKEN_MINUTES)]
    return subprocess.run(command, check=True, cwd=home, env={**os.environ, **of_data(home)}, stdout=subprocess.PIPE, text=True).stdout.strip()


def empty_store(options, home, **settings):
    command = [options.refold, "store", "empty", "--yes"]
    subprocess.run(command, check=True, cwd=home, env={**os.environ, **of_data(home), **settings}, capture_output=True)


def of_data(home):
    return {"REFOLD__DATA_DIR": str(home / "data")}
