"""Holds deny.toml against `cargo metadata` where cargo-deny is not installed: licences, bans with their wrappers, sources."""

import json
import re
import subprocess
import sys

try:
    import tomllib
except ModuleNotFoundError:  # before Python 3.11
    from pip._vendor import tomli as tomllib


def main():
    with open("deny.toml", "rb") as file:
        rules = tomllib.load(file)
    command = ["cargo", "metadata", "--locked", "--all-features", "--format-version", "1"]
    metadata = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    packages = metadata["packages"]
    problems = [*licences(packages, rules), *bans(packages, rules), *sources(packages)]
    for problem in problems:
        print(problem)
    print(f"{len(packages)} packages, {len(problems)} problems")
    return 1 if problems or not packages else 0


def licences(packages, rules):
    allowed = set(rules["licenses"]["allow"])
    for package in packages:
        expression = package["license"] or ""
        if not may_be_used(expression, allowed):
            yield f"{package['name']} {package['version']}: licence {expression!r} is not in deny.toml"


def may_be_used(expression, allowed):
    """Evaluates an SPDX expression; a slash is the old way to write OR."""
    tokens = re.findall(r"\(|\)|[^\s()/]+(?:\s+WITH\s+[^\s()/]+)?|/", expression)
    words = {"(": "(", ")": ")", "OR": "or", "AND": "and", "/": "or"}
    python = " ".join(words.get(token, str(token in allowed)) for token in tokens)
    try:
        return bool(eval(python, {"__builtins__": {}}))  # only True, False, or, and, brackets can be in it
    except SyntaxError:
        return False


def bans(packages, rules):
    wrappers = {entry["crate"]: set(entry["wrappers"]) for entry in rules["bans"]["deny"]}
    for package in packages:
        for dependency in package["dependencies"]:
            name = dependency["name"]
            if name in wrappers and package["name"] not in wrappers[name]:
                yield f"{package['name']} may not depend on {name}: only {', '.join(sorted(wrappers[name]))} may"


def sources(packages):
    registries = {package["source"] for package in packages if package["source"]}
    if len(registries) > 1 or any(not source.startswith("registry+") for source in registries):
        yield f"dependencies from elsewhere than the one registry: {', '.join(sorted(registries))}"


sys.exit(main())
