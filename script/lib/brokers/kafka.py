"""Kafka, one node with KRaft, from its archives for Java; the next port is the controller's."""

import secrets
import shutil
import struct
import subprocess
from pathlib import Path

from server import Failure, configured, exchange

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
    return number


def command(server, extra):
    settings = configured("kafka/server.properties", server, extra)
    if not (server.directory / "data" / "meta.properties").exists():
        # A start that was cut short leaves nothing that could be used.
        shutil.rmtree(server.directory / "data", ignore_errors=True)
        # Of the form that StorageTool makes; may not begin with a dash.
        cluster = "R" + secrets.token_urlsafe(16)[1:]
        server.output("kafka.tools.StorageTool", "format", "--cluster-id", cluster, "--config", settings)
    return tool(server, ["kafka.Kafka", settings], MEMORY, f"-Dlog4j2.configurationFile={HERE}/log4j2.properties",
                         f"-Dlog4j.configuration=file:{HERE}/log4j.properties")


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
