"""House rules that neither the compiler nor clippy holds; see README.md. Prints each breach with its file and line."""

import pathlib
import re
import subprocess
import sys

ARCHITECTURE_LINES_MAX = 120
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|\bunimplemented!|\btodo!")
IGNORED_TEST = re.compile(r"#\[\s*ignore\b|#\[cfg_attr\(.*\bignore\b")
SLEEP = re.compile(r"\bsleep(_until)?\s*\(")
START_OF_TESTS = re.compile(r"^\s*#\[cfg\((all\()?test\b.*\]|^\s*#\[(tokio::)?test\b")
LINTS_NEEDED = ("missing_docs", "unwrap_used", "allow_attributes")


def main():
    files = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], check=True, stdout=subprocess.PIPE, text=True)
    paths = [pathlib.Path(name) for name in files.stdout.splitlines() if pathlib.Path(name).is_file()]
    rust = [path for path in paths if path.suffix == ".rs"]
    breaches = [breach for path in rust for breach in of_source(path)]
    breaches += [breach for path in paths if path.name == "Cargo.toml" for breach in of_manifest(path)]
    breaches += of_architecture(pathlib.Path("ARCHITECTURE.md"))
    for breach in breaches:
        print(breach)
    print(f"{len(rust)} source files, {len(breaches)} breaches")
    return 1 if breaches or not rust else 0


def of_source(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    if not lines or not lines[0].startswith("//! "):
        yield f"{path}:1: opens without the sentence (//!) that says what it does"
    in_tests = path.parts[0] == "tests" or "tests" in path.parts[1:] or path.name == "tests.rs"
    for number, line in enumerate(lines, 1):
        in_tests = in_tests or bool(START_OF_TESTS.search(line))
        code = line.split("//")[0]
        if UNFINISHED.search(line):
            yield f"{path}:{number}: unfinished: {line.strip()}"
        if IGNORED_TEST.search(code):
            yield f"{path}:{number}: an ignored test: {line.strip()}"
        if in_tests and SLEEP.search(code):
            yield f"{path}:{number}: a test sleeps instead of waiting for a state: {line.strip()}"


def of_manifest(path):
    text = path.read_text(encoding="utf-8")
    if "[package]" in text and not re.search(r"^\[lints\]\nworkspace = true$", text, re.M):
        yield f"{path}:1: does not take on the lints of the workspace"
    if "[workspace]" in text:
        for lint in LINTS_NEEDED:
            if not re.search(rf'^{lint} = "(warn|deny|forbid)"', text, re.M):
                yield f"{path}:1: the lint {lint} is off"


def of_architecture(path):
    lines = len(path.read_text(encoding="utf-8").splitlines())
    if lines > ARCHITECTURE_LINES_MAX:
        return [f"{path}:{lines}: longer than {ARCHITECTURE_LINES_MAX} lines"]
    return []


sys.exit(main())
