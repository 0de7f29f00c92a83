"""Starts what the client tests talk to: a mock, a gateway in front of it, and environments from lock files."""

import functools
import hashlib
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import venv
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BUILT = ROOT / "target" / "clients"

# the lines of Node that clients ask for, where the system's own is older
NODES = {20: "20.20.2", 22: "22.23.3"}

# what npm says then is why it failed: without a network, for one
QUIET = ("--loglevel=error", "--no-audit", "--no-fund")


def binary():
    """The gateway under test."""
    path = Path(os.environ.get("TOLLGATE_BIN", ROOT / "target" / "debug" / "tollgate"))
    if not path.exists():
        sys.exit(f"{path} is not there: build it with `cargo build`, or set TOLLGATE_BIN")
    return str(path)


def python_environment(name, lock):
    """A virtual environment with exactly what the file `lock` names; made once per lock file."""
    place = BUILT / f"python-{name}-{digest(sys.version, lock.read_text())}"
    python = str(place / "bin" / "python")
    if not (place / "done").exists():
        shutil.rmtree(place, ignore_errors=True)
        venv.create(place, with_pip=False)
        install = ["install", "--quiet", "--no-compile", "--no-deps", "--requirement", str(lock)]
        subprocess.run([pip(), "-m", "pip", "--python", python, *install], check=True, env=quiet_pip())
        (place / "done").touch()
    return python


def node_environment(name, suite, lock):
    """The files of the folder `suite` beside exactly what the folder `lock` names; modules are fetched once."""
    place = BUILT / f"node-{name}-{digest((lock / 'package-lock.json').read_text())}"
    place.mkdir(parents=True, exist_ok=True)
    for old in place.glob("*.js"):
        old.unlink()
    for file in [*suite.glob("*.js"), *lock.glob("*.json"), suite / ".npmrc"]:
        shutil.copy(file, place)
    if not (place / "done").exists():
        subprocess.run(["npm", "ci", *QUIET, "--ignore-scripts"], cwd=place, check=True)
        (place / "done").touch()
    return place


@functools.cache
def node(line):
    """A Node of at least this line: the system's own, or one from npm's registry."""
    with BUILDING:
        if shutil.which("node") and major("node") >= line:
            return "node"
        machine = "arm64" if platform.machine() == "aarch64" else "x64"
        place = BUILT / f"node-{NODES[line]}"
        found = place / "node_modules" / f"node-linux-{machine}" / "bin" / "node"
        if not found.exists():
            place.mkdir(parents=True, exist_ok=True)
            package = f"node-linux-{machine}@{NODES[line]}"
            subprocess.run(["npm", "install", *QUIET, "--no-save", "--prefix", str(place), package], check=True)
        return str(found)


def major(program):
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    return int(said.lstrip("v").split(".")[0])


@functools.cache
def pip():
    """The Python of one environment that has pip; the others do without a copy of their own."""
    with BUILDING:
        place = BUILT / f"pip-{digest(sys.version)}"
        if not (place / "done").exists():
            shutil.rmtree(place, ignore_errors=True)
            venv.create(place, with_pip=True)
            (place / "done").touch()
        return str(place / "bin" / "python")


def quiet_pip():
    return {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def digest(*texts):
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:12]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


BUILDING = threading.RLock()


class Gateway(NamedTuple):
    """A gateway that serves."""

    address: str
    admin: str
    config: Path


class Processes:
    """Child processes in a temporary folder; all end when the block does."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="tollgate-clients-"))
        self.children = []

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        for child in reversed(self.children):
            child.terminate()
        for child in reversed(self.children):
            try:
                child.wait(timeout=15)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        if kind is None:
            shutil.rmtree(self.folder, ignore_errors=True)
        else:
            print(f"logs are kept in {self.folder}", file=sys.stderr)

    def start(self, name, command, **options):
        """Starts a child that logs to NAME.log."""
        with open(self.folder / f"{name}.log", "wb") as log:
            child = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, **options)
        self.children.append(child)
        return child

    def log(self, name):
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def mock(self):
        """The mock's address and its served log."""
        port, log = free_port(), self.folder / "served.jsonl"
        address = f"127.0.0.1:{port}"
        child = self.start("mock", [binary(), "mock", "--listen", address, "--log", str(log)])
        self.wait_for("mock", child, port)
        return address, log

    def gateway(self, config, environment=None):
        """Writes a config, fills in its listeners and data folder, and serves it."""
        port, admin = free_port(), free_port()
        text = (
            f'listen: "127.0.0.1:{port}"\nadmin: {{ listen: "127.0.0.1:{admin}" }}\n'
            f'data_dir: "{self.folder / "data"}"\n{config}'
        )
        file = self.folder / "tollgate.yaml"
        file.write_text(text)
        command = [binary(), "serve", "--config", str(file)]
        child = self.start("gateway", command, env={**os.environ, **(environment or {})})
        self.wait_for("gateway", child, port)
        return Gateway(f"127.0.0.1:{port}", f"127.0.0.1:{admin}", file)

    def wait_for(self, name, child, port, patience=30.0):
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if child.poll() is not None:
                raise RuntimeError(f"{name} ended with {child.returncode}:\n{self.log(name)}")
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.02)
        raise RuntimeError(f"{name} does not listen after {patience} s:\n{self.log(name)}")
