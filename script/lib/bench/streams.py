"""Streams beside a full load of commands: as many commands without them are the reference."""

import contextlib
import selectors
import socket
import threading

from figures import Row
from load import FOODS, check_total, posting_foods, wrk
from server import fresh

CONNECTIONS = 64
IDLE, BUSY = 1_000, 500
READ_BYTES = 65_536


def measure(options, home):
    script = posting_foods(home)
    row = Row(f"`POST /foods`, {CONNECTIONS} connections, beside {IDLE:,} idle and {BUSY} busy streams; "
              "the reference: without", "commands/s", [])
    messages = Row("messages that the streams were sent meanwhile", "a second", [])
    for _ in range(options.rounds):
        with fresh(options, home) as server:
            reference, _ = wrk(server, CONNECTIONS, options.seconds, "/foods", script)
        with fresh(options, home) as server, Readers(server) as readers:
            rate, share = wrk(server, CONNECTIONS, options.seconds, "/foods", script)
            readers.check()
            row.figures.append(rate)
            row.shares.append(share)
            row.memory.append(server.memory_peak())
            row.ratios.append(rate / reference)
            messages.figures.append(readers.messages / options.seconds)
            check_total(server, rate * options.seconds)
    yield row
    yield messages


class Readers:
    """Clients that read streams until they are closed."""

    def __init__(self, server):
        idle = ["/views/purchases_by_day/live"] * IDLE
        busy = [f"/views/food_counts/live?food=food%20{number % FOODS}" for number in range(BUSY)]
        self.sockets = [opened(server, path) for path in idle + busy]
        self.messages, self.wrong = 0, None
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.read)

    def read(self):
        with selectors.DefaultSelector() as selector:
            for stream in self.sockets:
                selector.register(stream, selectors.EVENT_READ)
            while not self.ended.is_set():
                for key, _ in selector.select(timeout=0.1):
                    received = key.fileobj.recv(READ_BYTES)
                    if not received:
                        self.wrong = "a stream was ended"
                        return
                    self.messages += received.count(b"data:")

    def check(self):
        if self.wrong:
            raise SystemExit(self.wrong)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()
        for stream in self.sockets:
            with contextlib.suppress(OSError):
                stream.close()


def opened(server, path):
    host, port = server.address.split(":")
    stream = socket.create_connection((host, int(port)), timeout=10)
    stream.sendall(f"GET {path} HTTP/1.1\r\nHost: {server.address}\r\nAccept: text/event-stream\r\n\r\n".encode())
    head = stream.recv(READ_BYTES)
    if b" 200 " not in head.split(b"\r\n", 1)[0]:
        raise SystemExit(f"{path} was answered {head[:500]}")
    stream.setblocking(False)
    return stream
