"""NATS with JetStream, from the distribution; the next port serves its monitoring."""

import base64
import json

import debian
from server import Failure, configured, exchange

NAME = "nats"
PORT, PORTS = 27222, 2
version = debian.release
ANSWERS_TO = "_INBOX.check"


def install(suite, home):
    return debian.install("nats-server", suite, home)


def command(server, extra):
    return [program(server), "--config", configured("nats.conf", server, extra)], {}


def tool(server, command):
    return [program(server), *command], {}


def program(server):
    return next(str(path) for place in ("usr/sbin", "usr/bin") if (path := server.home / place / "nats-server").exists())


def answers(server):
    return bool(exchange(server.port, b"PING\r\n", rb"\r\nPONG\r\n"))


def write(server, text):
    asked(server, "$JS.API.STREAM.CREATE.check", json.dumps({"name": "check", "subjects": ["check"], "storage": "file"}))
    asked(server, "check", text)


def read(server):
    last = asked(server, "$JS.API.STREAM.INFO.check", "")["state"]["last_seq"]
    messages = (asked(server, "$JS.API.STREAM.MSG.GET.check", json.dumps({"seq": n + 1})) for n in range(last))
    return [base64.b64decode(message["message"]["data"]).decode() for message in messages]


def asked(server, subject, payload):
    """What JetStream answers to a message."""
    frames = f"CONNECT {{}}\r\nSUB {ANSWERS_TO} 1\r\nPUB {subject} {ANSWERS_TO} {len(payload)}\r\n{payload}\r\n"
    found = exchange(server.port, frames.encode(), rb"\r\nMSG \S+ 1 +\d+\r\n(.*)\r\n")
    if not found:
        raise Failure(f"{server}: no answer to {subject}")
    answer = json.loads(found[1])
    if "error" in answer:
        raise Failure(f"{server}: {subject}: {answer['error']}")
    return answer
