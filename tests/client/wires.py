"""A service in a thread of this process, and a wire before it that can be cut."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import uvicorn


@contextmanager
def running(app):
    """Serve an application from a thread; gives its port."""
    config = uvicorn.Config(
        app, port=0, ws="none", log_config=None, access_log=False, timeout_graceful_shutdown=5
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the service did not start"
            time.sleep(0.01)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


@dataclass
class Wire:
    """Hands on what it is sent, and cuts so many answers off after the service gave them."""

    port: int
    cuts: int = 0
    listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def serve(self) -> None:
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._hand_on, args=[near], daemon=True).start()

    def _hand_on(self, near: socket.socket) -> None:
        with near, socket.create_connection(("127.0.0.1", self.port)) as far:
            there = threading.Thread(target=self._pump, args=[near, far], daemon=True)
            there.start()
            self._pump(far, near, answers=True)
            there.join()

    def _pump(self, source: socket.socket, target: socket.socket, *, answers: bool = False) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                if answers and self.cuts:
                    self.cuts -= 1
                    break
                target.sendall(data)
        for each in (source, target):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
