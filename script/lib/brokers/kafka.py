"""Kafka, one node with KRaft, from its archives for Java; the next port is the controller's."""

import contextlib
import secrets
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from server import END_SECONDS_MAX, POLL_SECONDS, START_SECONDS_MAX, Failure, Server, configured, exchange, free_ports

NAME = "kafka"
PORT, PORTS = 27092, 2
NEWEST = "4.3.1"
HERE = Path(__file__).parent / "kafka"
GET_SECONDS_MAX = 600
MEMORY = "-Xmx512m"
# A request for the server's versions: key 18, version 0, number 1, no client's name.
API_VERSIONS = struct.pack(">ihhih", 10, 18, 0, 1, -1)


def version():
    return NEWEST


def install(number, home):
    pom = HERE / f"{number}.xml"
    if not pom.exists():
        known = ", ".join(sorted(path.stem for path in HERE.glob("*.xml")))
        raise Failure(f"no pom for Kafka {number}; there are {known}")
    maven = ["mvn", "--quiet", "--batch-mode", "--file", str(pom), "dependency:copy-dependencies", "-DincludeScope=runtime",
             f"-DoutputDirectory={home}/jars"]
    done = subprocess.run(maven, capture_output=True, text=True, timeout=GET_SECONDS_MAX)
    if done.returncode:
        raise Failure(f"{' '.join(maven)}: {done.stdout.strip()[:2000]}")
    archive_classes(number, home / "classes.jsa")
    return number


def archive_classes(number, archive):
    """What a start loads, in the form that Java has for it: half of the time and of the work of every later start."""
    unfinished = archive.with_suffix(".part")
    with tempfile.TemporaryDirectory(prefix="refold-broker-") as directory:
        first = Server(sys.modules[__name__], number, Path(directory), free_ports(PORTS))
        (java, *arguments), _ = command(first, "")
        options = [java, f"-XX:ArchiveClassesAtExit={unfinished}", *arguments]
        with subprocess.Popen(options, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            deadline = time.monotonic() + START_SECONDS_MAX
            while process.poll() is None and time.monotonic() < deadline and not answers(first):
                time.sleep(POLL_SECONDS)
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(END_SECONDS_MAX)
            process.kill()
    # Without it a start only takes longer.
    if unfinished.exists():
        unfinished.rename(archive)


def command(server, extra):
    settings = configured("kafka/server.properties", server, extra)
    if not (server.directory / "data" / "meta.properties").exists():
        # A start that was cut short leaves nothing that could be used.
        shutil.rmtree(server.directory / "data", ignore_errors=True)
        # Of the form that StorageTool makes; may not begin with a dash.
        cluster = "R" + secrets.token_urlsafe(16)[1:]
        server.output("kafka.tools.StorageTool", "format", "--cluster-id", cluster, "--config", settings)
    archive = server.home / "classes.jsa"
    options = [MEMORY, f"-Dlog4j2.configurationFile={HERE}/log4j2.properties", f"-Dlog4j.configuration=file:{HERE}/log4j.properties"]
    options += [f"-XX:SharedArchiveFile={archive}"] if archive.exists() else []
    return tool(server, ["kafka.Kafka", settings], *options)


def tool(server, command, *options):
    """The first word is the class, such as org.apache.kafka.tools.TopicCommand."""
    return ["java", *options, "-cp", f"{server.home}/jars/*", *command], {}


def answers(server):
    return bool(exchange(server.port, API_VERSIONS, rb"\x00\x00\x00\x01"))


def write(server, text):
    package = "kafka.tools" if server.version.startswith("3.") else "org.apache.kafka.tools"
    server.output(f"{package}.ConsoleProducer", "--bootstrap-server", f"127.0.0.1:{server.port}", "--topic", "check",
                  "--sync", "--producer-property", "acks=all", stdin=f"{text}\n")


def read(server):
    return server.output("org.apache.kafka.tools.consumer.ConsoleConsumer", "--bootstrap-server", f"127.0.0.1:{server.port}",
                         "--topic", "check", "--partition", "0", "--offset", "earliest", "--max-messages", "2",
                         "--timeout-ms", "10000").split()
