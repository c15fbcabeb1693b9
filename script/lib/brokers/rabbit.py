"""RabbitMQ with its management plugin, from the distribution: AMQP, HTTP, Erlang's distribution and its port mapper (epmd) have
a port each."""

import base64
import contextlib
import ctypes
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request

import debian
from server import POLL_SECONDS, Failure, configured

NAME = "rabbit"
PORT, PORTS = 27672, 4
version = debian.release
PR_SET_PDEATHSIG = 1
ANSWER_SECONDS_MAX = 5
RECOVERY_SECONDS_MAX = 10
# The first stream of a new node is lost with all that is in it if the node is killed within about a second (3.10, 4.0, 4.3).
SETTLE_SECONDS = 2
GUEST = base64.b64encode(b"guest:guest").decode()


def install(suite, home):
    return debian.install("rabbitmq-server", suite, home)


def command(server, extra):
    directory = server.directory
    (directory / "enabled_plugins").write_text("[rabbitmq_management].\n")
    env = {
        **environment(server),
        "RABBITMQ_CONFIG_FILE": configured("rabbitmq.conf", server, extra),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(directory / "enabled_plugins"),
        "RABBITMQ_MNESIA_BASE": str(directory / "data"),
        "RABBITMQ_LOG_BASE": str(directory / "log"),
        "RABBITMQ_DIST_PORT": str(server.port + 2),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-start_epmd false -kernel inet_dist_use_interface {127,0,0,1}",
        # Then the script makes room for the server instead of watching over it, and a kill meets the server.
        "RUNNING_UNDER_SYSTEMD": "true",
    }
    map_ports(server, env)
    return [str(server.home / "usr/lib/rabbitmq/bin/rabbitmq-server")], env


def environment(server):
    return {
        "PATH": f"{server.home}/usr/bin:{os.environ['PATH']}",
        # Of the cookie.
        "HOME": str(server.directory),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "ERL_EPMD_PORT": str(server.port + 3),
        "RABBITMQ_NODENAME": "refold@localhost",
        "RABBITMQ_CONF_ENV_FILE": "/dev/null",
    }


def map_ports(server, env):
    """A port mapper of the server's own, which ends with it however that ends."""
    def die_with_parent():
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    subprocess.Popen([str(server.home / "usr/bin/epmd")], env={**os.environ, **env}, preexec_fn=die_with_parent)


def tool(server, command):
    """rabbitmqctl and others: the first word is the program."""
    running = server.running()
    directory = server.directory / running["version"] if running else server.directory
    env = {**environment(server), "HOME": str(directory)}
    return [str(server.home / "usr/lib/rabbitmq/bin" / command[0]), *command[1:]], env


def answers(server):
    request = urllib.request.Request(f"http://127.0.0.1:{server.port + 1}/api/overview", headers={"Authorization": f"Basic {GUEST}"})
    with contextlib.suppress(urllib.error.URLError, OSError):
        return urllib.request.urlopen(request, timeout=ANSWER_SECONDS_MAX).status == 200


def write(server, text):
    def publish(channel):
        channel.confirm_delivery()
        channel.basic_publish("", "check", text.encode(), mandatory=True)
    once_recovered(server, publish)


def read(server):
    """All up to the message that is the last."""
    def consume(channel):
        channel.basic_qos(prefetch_count=10)
        found = []
        for method, _, body in channel.consume("check", arguments={"x-stream-offset": "first"}, inactivity_timeout=RECOVERY_SECONDS_MAX):
            if method is None:
                return found
            channel.basic_ack(method.delivery_tag)
            found.append(body.decode())
            if found[-1] == "after":
                return found
    return once_recovered(server, consume)


def once_recovered(server, act):
    """A stream is there some time after the server that was killed: it answers that there is none until then."""
    # Not for whoever only asks what there is, or starts a server.
    import pika

    deadline = time.monotonic() + RECOVERY_SECONDS_MAX
    while True:
        try:
            with pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", server.port)) as connection:
                channel = connection.channel()
                channel.queue_declare("check", durable=True, arguments={"x-queue-type": "stream"})
                return act(channel)
        except pika.exceptions.AMQPError as error:
            if time.monotonic() > deadline:
                raise Failure(f"{server}: the stream is not there: {error!r}") from error
            time.sleep(POLL_SECONDS)
