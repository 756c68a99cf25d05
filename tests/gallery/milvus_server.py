"""A real Milvus server for the tests, from the wheel that `make milvus` puts into a venv."""

import contextlib
import ctypes
import fcntl
import lzma
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

VENV = Path(
    os.environ.get("VISAVIS_TEST_MILVUS") or Path(__file__).parents[2] / ".milvus-venv"
).absolute()
_PATIENCE = 60
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG


def wheel():
    """Folder with the packed programs and the settings' template; None when there is none."""
    found = sorted(VENV.glob("lib/python*/site-packages/milvus/data/config.yaml.template"))
    return found[0].parent if found else None


class MilvusServer:
    """One server on ports that were free, all of its data in one folder."""

    def __init__(self, folder, settings=None):
        self.folder = Path(folder)
        self._settings = _QUICK if settings is None else settings
        self._process = None
        self._programs = _unpacked(wheel())
        self.port = self._metrics = 0

    @property
    def uri(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self):
        return f"milvus://127.0.0.1:{self.port}"

    def start(self):
        """Start it, on the same ports as before, and wait until it is healthy."""
        for _ in range(3):
            if not self.port:
                self._configure()
            self._run()
            if self._healthy():
                return
            self.kill()
            self.port = 0  # somebody else may have taken a port in between
        log = (self.folder / "logs" / "out.txt").read_text("utf-8")[-2000:]
        raise AssertionError(f"Milvus does not start:\n{log}")

    def kill(self):
        """End it as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self):
        """Make it answer nobody, its ports still open."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self):
        self._process.send_signal(signal.SIGCONT)

    def wipe(self):
        """Lose everything, as with an empty new disk; the server must not run."""
        shutil.rmtree(self.folder / "data")

    def _run(self):
        (self.folder / "data").mkdir(exist_ok=True)
        environment = os.environ | {
            "DEPLOY_MODE": "STANDALONE",
            "METRICS_PORT": str(self._metrics),
            "MILVUS_RUN_DIR": str(self.folder / "run"),
            "LD_LIBRARY_PATH": str(self._programs),
        }
        with (self.folder / "logs" / "out.txt").open("w") as log:
            self._process = subprocess.Popen(
                [self._programs / "milvus", "run", "standalone"],
                cwd=self.folder,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                # It is too large to be left behind by a test run that was killed.
                preexec_fn=lambda: ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL),  # noqa: PLW1509
            )

    def _healthy(self):
        deadline = time.monotonic() + _PATIENCE
        health = f"http://127.0.0.1:{self._metrics}/healthz"
        while self._process.poll() is None and time.monotonic() < deadline:
            with (
                contextlib.suppress(OSError),
                urllib.request.urlopen(health, timeout=5) as answer,
            ):
                if b"OK" in answer.read():
                    return True
            time.sleep(0.05)
        return False

    def _configure(self):
        """Write the settings: every port a free one, every path in the folder."""
        for name in ("configs", "logs", "data"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as taken:
            ports = {name: _free_port(taken) for name in ("metrics", "client", "peer")}

            def value(match):
                name, default = match[1], match[2]
                if name.endswith("_port"):
                    return str(ports.setdefault(name, _free_port(taken)))
                return str(self._paths().get(name, default))

            source = wheel()
            text = (source / "config.yaml.template").read_text("utf-8")
            text = re.sub(r"\{\{ *(\w+)(?:\(\w+\))?(?:: *([^}]*?))? *\}\}", value, text)
            etcd = self.folder / "configs" / "etcd.yaml"
            etcd.write_text(_ETCD.format(**ports), "utf-8")
            for slow, quick in self._settings.items():
                assert slow in text
                text = text.replace(slow, quick)
            text = text.replace("etcd:\n", f"etcd:\n  config:\n    path: {etcd}\n", 1)
            (self.folder / "configs" / "milvus.yaml").write_text(text, "utf-8")
            shutil.copy(source / "glog.conf", self.folder / "configs")
        self.port, self._metrics = ports["proxy_port"], ports["metrics"]

    def _paths(self):
        logs, data = self.folder / "logs", self.folder / "data"
        return {
            "etcd_log_path": logs / "etcd.log",
            "system_log_path": logs,
            "etcd_data_dir": data / "etcd",
            "local_storage_dir": data,
            "rocksmq_data_dir": data / "rocksmq",
        }


# How often its parts look at each other, in milliseconds, and (ttl, in seconds) after how long it
# believes that a part has gone. As it comes, each new collection takes seconds, and a restart half
# a minute.
_QUICK = {
    "timeTickInterval: 200": "timeTickInterval: 20",
    "checkInterval: 1000": "checkInterval: 50\n  checkSegmentInterval: 50\n"
    "  checkChannelInterval: 50\n  leaderViewUpdateInterval: 1\n  checkIndexInterval: 200",
    "distPullInterval: 500": "distPullInterval: 50",
    "checkHandoffInterval: 5000": "checkHandoffInterval: 200",
    "ttl: 30": "ttl: 8",
}
_ETCD = """\
name: default
listen-client-urls: http://127.0.0.1:{client}
advertise-client-urls: http://127.0.0.1:{client}
listen-peer-urls: http://127.0.0.1:{peer}
initial-advertise-peer-urls: http://127.0.0.1:{peer}
initial-cluster: default=http://127.0.0.1:{peer}
"""


def _free_port(taken):
    held = taken.enter_context(socket.socket())
    held.bind(("127.0.0.1", 0))
    return held.getsockname()[1]


def _unpacked(source):
    """Unpack the programs once for everybody (4 s), whole or not at all."""
    target = VENV / "programs"
    with (VENV / "programs.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            fresh = VENV / "programs.new"
            shutil.rmtree(fresh, ignore_errors=True)
            fresh.mkdir()
            for packed in sorted((source / "bin").glob("*.lzma")):
                program = fresh / packed.stem
                with lzma.open(packed) as content, program.open("wb") as file:
                    shutil.copyfileobj(content, file)
                program.chmod(0o755)
            fresh.rename(target)
    return target
