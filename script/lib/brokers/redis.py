"""Redis, from the distribution."""

import debian
from server import configured, exchange

NAME = "redis"
PORT, PORTS = 27379, 1
version = debian.release


def install(suite, home):
    return debian.install("redis-server", suite, home)


def command(server, extra):
    return [str(server.home / "usr/bin/redis-server"), configured("redis.conf", server, extra)], {}


def tool(server, command):
    """redis-cli and others: the first word is the program."""
    return [str(server.home / "usr/bin" / command[0]), *command[1:]], {}


def answers(server):
    return bool(exchange(server.port, b"PING\r\n", rb"\+PONG\r\n"))


def write(server, text):
    server.output("redis-cli", "-p", str(server.port), "rpush", "check", text)


def read(server):
    return server.output("redis-cli", "-p", str(server.port), "lrange", "check", "0", "-1").split()
