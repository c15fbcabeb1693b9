"""Runs real Kafka, RabbitMQ, NATS and Redis on loopback, beneath target/brokers and without Docker.

A server is a NAME or NAME@VERSION: of Kafka a number for which there is a pom (kafka@3.9.2), of the others a release of the
distribution (rabbit@trixie), from which its packages are unpacked. Nothing is installed in the system itself.
"""

import argparse
import json
import signal
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import kafka
import nats
import rabbit
import redis
from server import HOME, Failure, Server, free_ports

KINDS = {kind.NAME: kind for kind in (kafka, rabbit, nats, redis)}


def main():
    options = asked()
    # So that what was begun is ended also then.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by a signal"))
    try:
        options.act(options)
    except Failure as failure:
        sys.exit(f"error: {failure}")


def asked():
    parser = argparse.ArgumentParser(prog="script/brokers", description=__doc__)
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    for act, what in (
        (install, "get what is missing of the servers"),
        (up, "start what is not running yet, each on its own port, and wait until it answers"),
        (down, "end what `up` started; the data stay"),
        (status, "what runs where"),
        (check, "start one of each beside all others, write, kill -9, start again and read"),
        (run, "become a server with a directory and a port of its own; ends when killed"),
        (execute, "run a program of a server's installation, a class of Kafka's for one"),
    ):
        verb = verbs.add_parser({execute: "exec"}.get(act, act.__name__), help=what, description=what)
        verb.set_defaults(act=act)
        if act in (run, execute):
            verb.add_argument("server", metavar="NAME[@VERSION]", type=server)
        else:
            verb.add_argument("servers", nargs="*", metavar="NAME[@VERSION]", type=server)
        if act is run:
            verb.add_argument("--dir", required=True, type=Path, help="where its settings and data are")
            verb.add_argument("--port", required=True, type=int, help="the first of its ports")
            verb.add_argument("--extra", type=Path, metavar="FILE", help="settings to be added, in the server's own form")
        if act is status:
            verb.add_argument("--json", action="store_true", help="for programs")
        if act is execute:
            verb.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    if not options.__dict__.get("servers", True):
        options.servers = [server(name) for name in KINDS]
    return options


def server(text):
    name, _, version = text.partition("@")
    if name not in KINDS:
        raise argparse.ArgumentTypeError(f"unknown server {name!r}; known: {', '.join(KINDS)}")
    kind = KINDS[name]
    return Server(kind, version or kind.version(), HOME / name, kind.PORT)


def install(options):
    for one in options.servers:
        one.install()
        print(f"{one} {one.installed_version()}")


def up(options):
    for one in options.servers:
        one.install()
        one.start()
    with ThreadPoolExecutor() as pool:
        waits = [(one, pool.submit(one.wait)) for one in options.servers]
    for one, wait in waits:
        seconds = wait.result()
        print(f"{one}: 127.0.0.1:{one.port}, {one.installed_version()}" + (f", up in {seconds:.1f} s" if seconds else ""))


def down(options):
    for one in options.servers:
        one.terminate()
    for one in options.servers:
        print(f"{one}: {'ended' if one.wait_end() else 'was not running'}")


def status(options):
    states = [one.state() for one in options.servers]
    if options.json:
        print(json.dumps(states, indent=2))
        return
    for state in states:
        print("  ".join(f"{key} {value}" for key, value in state.items() if value is not None))


def check(options):
    """Each keeps what it confirmed when it is killed; shows that it can be run by tests, too."""
    for one in options.servers:
        one.install()
        with tempfile.TemporaryDirectory(prefix="refold-broker-") as directory:
            own = Server(one.kind, one.version, Path(directory), free_ports(one.kind.PORTS))
            try:
                print(f"{own} {own.installed_version()}: {own.round_trip()}", flush=True)
            except Failure as failure:
                raise Failure(f"{failure}\nits log ends with:\n{own.last_lines()}") from failure
            finally:
                own.kill()


def run(options):
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    one = Server(options.server.kind, options.server.version, options.dir.absolute(), options.port)
    one.install()
    one.become(options.extra.read_text() if options.extra else "")


def execute(options):
    options.server.install()
    options.server.execute(options.command)


if __name__ == "__main__":
    main()
