"""A real ``visavis serve``, started, killed and started again at will, and asked over HTTP."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import httpx2
import psutil

VISAVIS = Path(sys.executable).parent / "visavis"
PATIENCE = 60.0


class Service:
    """One process, or one with its workers, on a port of its own.

    Parameters
    ----------
    folder
        Where its log goes.
    environment
        Beside that of the tests.
    """

    def __init__(
        self,
        folder: Path,
        gallery: str | Path,
        *more: str,
        environment: dict[str, str] | None = None,
    ) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / f"serve-{self.port}.log"
        command = [VISAVIS, "serve", "--gallery", gallery, "--port", self.port, *more]
        self._command = [str(part) for part in command]
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        self.wait()
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.stop()

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    @property
    def workers(self) -> list[psutil.Process]:
        """The processes that answer: its children where it has any, else itself."""
        this = psutil.Process(self.process.pid)
        begun = [child for child in this.children() if _answers(child)]
        return begun or [this]

    @property
    def told(self) -> str:
        return self.log.read_text("utf-8")

    def start(self) -> None:
        """Start it; it may not answer yet."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdout=log,
                stderr=log,
                env=self._environment,
                start_new_session=True,  # its workers too are found by its number
            )

    def wait(self) -> None:
        """Wait until it is ready."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            assert self.process.poll() is None, self.told
            try:
                if httpx2.get(f"{self.url}/ready", timeout=5).status_code == 200:
                    return
            except httpx2.TransportError:
                time.sleep(0.1)
        raise AssertionError(self.told)

    def stop(self) -> int:
        """End it as systemd does; gives the exit status."""
        self.process.terminate()
        try:
            return self.process.wait(PATIENCE)
        finally:
            self.kill()

    def kill(self) -> None:
        """End it and its workers as a power cut does."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(PATIENCE)


def _answers(child: psutil.Process) -> bool:
    """Tell a worker from what else multiprocessing starts, and from one that is dead."""
    try:
        return "spawn_main" in " ".join(child.cmdline())
    except psutil.Error:
        return False


@dataclass(frozen=True)
class Site:
    """A running service, and a key of each kind that opens it."""

    url: str
    keys: dict[str, str]
    gallery: Path | str

    def ask(self, method: str, path: str, **more) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {self.keys['admin']}"}
        answer = httpx2.request(method, self.url + path, headers=headers, timeout=30, **more)
        answer.raise_for_status()
        return answer

    def enrol(self, name: str, photograph: Path, **more: str) -> str:
        """Enrol somebody whom the test does not enrol by hand; gives the id."""
        files = {"images": photograph.read_bytes()}
        data = {"name": name, "force": "true", **more}
        return self.ask("POST", "/v1/people", data=data, files=files).json()["person"]["id"]
