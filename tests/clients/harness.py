"""Starts what the client tests talk to: a mock, a gateway in front of it, and environments from lock files."""

import hashlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BUILT = ROOT / "target" / "clients"


def binary():
    """The gateway under test."""
    path = Path(os.environ.get("TOLLGATE_BIN", ROOT / "target" / "debug" / "tollgate"))
    if not path.exists():
        sys.exit(f"{path} is not there: build it with `cargo build`, or set TOLLGATE_BIN")
    return str(path)


def python_environment(folder):
    """A virtual environment with exactly what `folder`/requirements.txt names; made once per lock file."""
    lock = folder / "requirements.txt"
    place = BUILT / f"{folder.name}-{digest(sys.version, lock.read_text())}"
    if not (place / "done").exists():
        shutil.rmtree(place, ignore_errors=True)
        venv.create(place, with_pip=True)
        pip = [str(place / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--no-deps", "--requirement", str(lock)], check=True)
        (place / "done").touch()
    return str(place / "bin" / "python")


def node_environment(folder):
    """A copy of the suite beside exactly what its lock file names; modules are fetched once per lock file."""
    lock = folder / "package-lock.json"
    place = BUILT / f"node-{digest(lock.read_text())}"
    place.mkdir(parents=True, exist_ok=True)
    for old in place.glob("*.js"):
        old.unlink()
    for file in [*folder.glob("*.js"), *folder.glob("*.json"), folder / ".npmrc"]:
        shutil.copy(file, place)
    if not (place / "done").exists():
        subprocess.run(["npm", "ci", "--silent", "--ignore-scripts"], cwd=place, check=True)
        (place / "done").touch()
    return place


def digest(*texts):
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:12]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


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
        """Writes a config, fills in its listeners and data folder, and serves it. Gives the address."""
        port = free_port()
        text = (
            f'listen: "127.0.0.1:{port}"\nadmin: {{ listen: "127.0.0.1:{free_port()}" }}\n'
            f'data_dir: "{self.folder / "data"}"\n{config}'
        )
        file = self.folder / "tollgate.yaml"
        file.write_text(text)
        command = [binary(), "serve", "--config", str(file)]
        child = self.start("gateway", command, env={**os.environ, **(environment or {})})
        self.wait_for("gateway", child, port)
        return f"127.0.0.1:{port}", file

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
