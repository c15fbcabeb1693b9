"""Holds the Dockerfile and the compose files to the settings, to the files that they name, and to the servers that they say."""

import pathlib
import re
import sys

from ruamel.yaml import YAML

try:
    import tomllib
except ModuleNotFoundError:  # before Python 3.11
    from pip._vendor import tomli as tomllib

BASE = pathlib.Path("docker-compose.yml")
# Which broker a compose file chooses, and what the service of that broker is called.
BROKERS = {"docker-compose.yml": "nats", "docker-compose.kafka.yml": "kafka", "docker-compose.rabbit.yml": "rabbit"}
# Which store all of them choose, and what its service is called.
STORE = "redis"
# What is no setting: read by the service or its tools, or by the compose files.
OTHERS = {"REFOLD_CONFIG", "REFOLD_TOKEN", "REFOLD_PORT"}
VARIABLE = re.compile(r"\bREFOLD_[A-Z0-9_]*[A-Z0-9]")
HOST = re.compile(r"^(?:\w+://)?([\w.-]+):\d+$")


def main():
    found = sorted(path.name for path in pathlib.Path().glob("docker-compose*.yml"))
    problems = [f"{name}: not known to {__file__}: add its broker" for name in found if name not in BROKERS]
    problems += [f"{name}: not there" for name in BROKERS if name not in found]
    known = settings()
    for path in [pathlib.Path("Dockerfile"), *pathlib.Path("containers").iterdir(), *map(pathlib.Path, found)]:
        problems += unknown(path, known | OTHERS, VARIABLE)
    for path in [pathlib.Path("README.md"), *pathlib.Path("docs").glob("*.md")]:
        problems += unknown(path, known, re.compile(r"\bREFOLD__[A-Z0-9_]*[A-Z0-9]"))
    problems += dockerfile(pathlib.Path("Dockerfile"))
    for name in found:
        problems += compose(name)
    for problem in problems:
        print(problem)
    print(f"{len(found)} compose files, {len(known)} settings, {len(problems)} problems")
    return 1 if problems or not found else 0


def settings():
    """The variables of all settings; the routes of [access] have one together."""
    names = {"REFOLD__ACCESS"}
    for path in pathlib.Path("config").glob("*.toml"):
        for key, value in tomllib.loads(path.read_text(encoding="utf-8")).items():
            keys = [[key, inner] for inner in value] if isinstance(value, dict) else [[key]]
            names.update("__".join(["REFOLD", *key]).upper() for key in keys if key[0] != "access")
    return names


def unknown(path, known, variable):
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        for name in variable.findall(line):
            if name not in known:
                yield f"{path}:{number}: {name} is no setting"


def dockerfile(path):
    allowed = set(re.findall(r"^!(\S+)$", pathlib.Path(".dockerignore").read_text(encoding="utf-8"), re.M))
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        words = line.split()
        if words[:1] != ["COPY"] or words[1].startswith("--from"):
            continue
        for source in map(pathlib.Path, words[1:-1]):
            if not source.exists():
                yield f"{path}:{number}: {source} is not there"
            elif source.parts and source.parts[0] not in allowed:
                yield f"{path}:{number}: {source} is not in .dockerignore as !{source.parts[0]}"


def compose(name):
    broker, services = BROKERS[name], merged(name)
    started = {service for service, about in services.items() if not about.get("profiles")}
    if started != {"refold", broker, STORE}:
        yield f"{name}: starts {sorted(started)} instead of refold, {broker} and {STORE}"
    environment = services["refold"]["environment"]
    for key, server in {"REFOLD__LOG__BROKER": broker, "REFOLD__STORE__KIND": STORE}.items():
        if environment.get(key) != server:
            yield f"{name}: {key} is {environment.get(key)} instead of {server}"
        hosts = {key: HOST.match(value) for key, value in environment.items() if key.startswith(f"REFOLD__{server.upper()}__")}
        if not any(hosts.values()):
            yield f"{name}: nothing says where {server} is"
        for key, host in hosts.items():
            if host and host[1] != server:
                yield f"{name}: {key} names {host[1]}, which is not started"
    for service, about in services.items():
        if "build" not in about and not re.search(r":(?!latest)[\w.-]+$", about.get("image", "")):
            yield f"{name}: {service} has no image of a certain version"
        for source in (volume.split(":")[0] for volume in about.get("volumes", [])):
            if source.startswith(".") and not pathlib.Path(source).exists():
                yield f"{name}: {service} mounts {source}, which is not there"


def merged(name):
    """The services of the base with those of an overlay on top, as far as it matters here."""
    services = {}
    for path in dict.fromkeys([BASE, pathlib.Path(name)]):
        for service, about in YAML(typ="safe").load(path)["services"].items():
            before = services.get(service, {})
            environment = {**before.get("environment", {}), **about.get("environment", {})}
            services[service] = {**before, **about, "environment": environment}
    return services


sys.exit(main())
