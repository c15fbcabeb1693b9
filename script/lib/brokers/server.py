"""One server: a process with a directory, a port and a file that says which process it is."""

import contextlib
import fcntl
import json
import os
import random
import re
import shutil
import signal
import socket
import string
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
HOME = Path(os.environ.get("REFOLD_BROKERS_HOME", ROOT / "target" / "brokers"))
START_SECONDS_MAX = 60
# A clean end of RabbitMQ takes some seconds; what takes longer is killed.
END_SECONDS_MAX = 20
FREE_SECONDS_MAX = 5
POLL_SECONDS = 0.05
LOG_LINES_SHOWN = 20
# Below those that the kernel gives to clients, so that nobody takes one between its choice and the start.
FREE_PORTS = range(20000, 32000)


class Failure(Exception):
    """What the user is told instead of a traceback."""


class Server:
    def __init__(self, kind, version, directory, port):
        self.kind, self.version, self.directory, self.port = kind, version, directory, port
        self.home = HOME / "servers" / f"{kind.NAME}@{version}"
        self.pid_file, self.log = directory / "process.json", directory / "server.log"

    def __str__(self):
        return f"{self.kind.NAME}@{self.version}"

    def install(self):
        """Nothing is done twice: the last step of an installation writes which version it is, and where it was meant to be."""
        if self.installed_at() == str(self.home):
            return
        HOME.mkdir(parents=True, exist_ok=True)
        with (HOME / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self.installed_at() == str(self.home):
                return
            print(f"==> getting {self}", file=sys.stderr)
            shutil.rmtree(self.home, ignore_errors=True)
            self.home.mkdir(parents=True)
            version = self.kind.install(self.version, self.home)
            (self.home / "installed").write_text(f"{version}\n{self.home}\n")

    def installed_at(self):
        with contextlib.suppress(FileNotFoundError):
            return (self.home / "installed").read_text().splitlines()[1]

    def installed_version(self):
        with contextlib.suppress(FileNotFoundError):
            return (self.home / "installed").read_text().splitlines()[0]

    def become(self, extra=""):
        """This process is the server from now on: who started it can kill it."""
        self.until_free()
        self.directory.mkdir(parents=True, exist_ok=True)
        os.chdir(self.directory)
        argv, env = self.kind.command(self, extra)
        os.execvpe(argv[0], argv, {**os.environ, **env})

    def execute(self, command):
        argv, env = self.kind.tool(self, command)
        os.execvpe(argv[0], argv, {**os.environ, **env})

    def output(self, *command, stdin=""):
        """What a program of the installation prints."""
        argv, env = self.kind.tool(self, command)
        done = subprocess.run(argv, env={**os.environ, **env}, input=stdin, capture_output=True, text=True, timeout=START_SECONDS_MAX)
        if done.returncode:
            raise Failure(f"{self}: {' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def start(self):
        running = self.running()
        if running and running["version"] != self.version:
            raise Failure(f"{self.kind.NAME}@{running['version']} is running; run: script/brokers down {self.kind.NAME}")
        if running:
            return
        self.until_free()
        self.directory.mkdir(parents=True, exist_ok=True)
        # Versions do not read each other's data.
        data = self.directory / self.version
        itself = [sys.executable, "-B", str(ROOT / "script/lib/brokers"), "run", str(self)]
        with self.log.open("wb") as log:
            process = subprocess.Popen([*itself, "--dir", str(data), "--port", str(self.port)],
                                       stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        self.pid_file.write_text(json.dumps({"pid": process.pid, "begun": begun(process.pid), "version": self.version}))
        self.started = time.monotonic()

    def until_free(self):
        """What served the ports before may still be ending."""
        ports = range(self.port, self.port + self.kind.PORTS)
        deadline = time.monotonic() + FREE_SECONDS_MAX
        while any(taken(port) for port in ports):
            if time.monotonic() > deadline:
                raise Failure(f"{self}: one of the ports {ports[0]} to {ports[-1]} is taken by something else")
            time.sleep(POLL_SECONDS)

    def wait(self):
        """Until it answers: the seconds since it was started by this process."""
        deadline = time.monotonic() + START_SECONDS_MAX
        while not self.kind.answers(self):
            if not self.running():
                raise Failure(f"{self} ended at once:\n{self.last_lines()}\nthe rest is in {self.log}")
            if time.monotonic() > deadline:
                raise Failure(f"{self} did not answer within {START_SECONDS_MAX} s:\n{self.last_lines()}\nthe rest is in {self.log}")
            time.sleep(POLL_SECONDS)
        return time.monotonic() - self.started if hasattr(self, "started") else None

    def last_lines(self):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-LOG_LINES_SHOWN:])

    def running(self):
        """What is known of the process, if it is still the one that was started: a number may have gone to another."""
        with contextlib.suppress(FileNotFoundError):
            known = json.loads(self.pid_file.read_text())
            if known["begun"] is not None and begun(known["pid"]) == known["begun"]:
                return known

    def signal(self, number):
        running = self.running()
        if running:
            os.kill(running["pid"], number)
        return running

    def terminate(self):
        self.ended = bool(self.signal(signal.SIGTERM))

    def kill(self):
        self.signal(signal.SIGKILL)
        self.wait_end()

    def wait_end(self):
        """Whether there was anything to end."""
        deadline = time.monotonic() + END_SECONDS_MAX
        while self.running():
            if time.monotonic() > deadline:
                self.signal(signal.SIGKILL)
            time.sleep(POLL_SECONDS)
        self.pid_file.unlink(missing_ok=True)
        return getattr(self, "ended", True)

    def state(self):
        running = self.running()
        memory = resident(running["pid"]) if running else None
        version = running["version"] if running else self.version
        shown = Server(self.kind, version, self.directory, self.port)
        return {"name": self.kind.NAME, "state": "up" if running and self.kind.answers(self) else "starting" if running else "down",
                "release": version, "version": shown.installed_version(), "address": f"127.0.0.1:{self.port}",
                "pid": running and running["pid"], "memory_mib": memory, "log": str(self.log)}

    def round_trip(self):
        """What was written and confirmed is there after a kill -9: how long everything took."""
        self.start()
        first = self.wait()
        self.kind.write(self, "before")
        time.sleep(getattr(self.kind, "SETTLE_SECONDS", 0))
        self.kill()
        self.start()
        second = self.wait()
        self.kind.write(self, "after")
        found = self.kind.read(self)
        if found != ["before", "after"]:
            raise Failure(f"{self}: wrote before and after a kill -9, read {found}")
        return f"up in {first:.1f} s, after kill -9 in {second:.1f} s, {self.state()['memory_mib']} MiB, nothing lost"


def begun(pid):
    """When the process began, in the kernel's ticks; nothing of one that has ended and waits for its parent."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return int(fields[19]) if fields[0] not in "ZX" else None


def resident(pid):
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") // 2**20


def taken(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_ports(count):
    """The first of so many in a row that nobody listens on."""
    while True:
        first = random.choice(FREE_PORTS)
        if not any(taken(port) for port in range(first, first + count)):
            return first


def exchange(port, request, pattern):
    """Sends bytes and reads until the answer has what is looked for; None if it never has, or nobody is there."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=END_SECONDS_MAX) as connection:
        connection.sendall(request)
        answer = b""
        while part := connection.recv(65536):
            answer += part
            if found := re.search(pattern, answer, re.DOTALL):
                return found


def configured(template, server, extra):
    """Writes the settings into the server's directory: the template's, then those that are added. The file's path."""
    text = string.Template((Path(__file__).parent / template).read_text())
    ports = {f"port_{n}": server.port + n for n in range(server.kind.PORTS)}
    file = server.directory / Path(template).name
    file.write_text(text.substitute(directory=server.directory, **ports) + extra)
    return str(file)
