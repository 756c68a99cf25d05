"""A disk that fills up under a service: nothing is half stored, nobody gets in unwritten."""

from __future__ import annotations

import base64
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import pytest

from visavis.engine import Engine, EngineConfig
from visavis.gallery import Gallery
from visavis.gallery.secrets.protection import Keys
from visavis.models import Cores

pytestmark = pytest.mark.slow
ROOM = 420_000
"""Bytes that any file of the service may have: the gallery's tables and some tens of people."""


def small_disk() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, ROOM))


def test_a_full_disk_is_told_and_what_was_acknowledged_stays(photographs, tmp_path, store):
    # Networks are prepared before the disk is full.
    Engine.open(config=EngineConfig(store=store, cores=Cores(2, 2)))
    gallery = tmp_path / "people.db"
    with Gallery.open(gallery, keys=Keys(text=bytes(32).hex())) as people:
        _, key = people.access.make_key("k", ["admin"])
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = [Path(sys.executable).with_name("visavis"), "serve", "--gallery", gallery]
    told = {**os.environ, "VISAVIS_KEY": bytes(32).hex(), "VISAVIS_CACHE": str(store.cache)}
    server = subprocess.Popen(
        [*map(str, words), "--port", str(port)],
        env=told,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=small_disk,  # noqa: PLW1509 - no thread of ours runs then
    )
    image = base64.b64encode(photographs["obama.jpg"].read_bytes()).decode()
    headers = {"Authorization": f"Bearer {key}"}
    acknowledged = []
    address = f"http://127.0.0.1:{port}"
    try:
        with httpx2.Client(base_url=address, headers=headers, timeout=30) as client:
            for _ in range(600):
                try:
                    if client.get("/ready").status_code == 200:
                        break
                except httpx2.TransportError:
                    time.sleep(0.1)
            for number in range(400):
                body = {"name": f"P{number}", "images": [image], "force": True}
                answer = client.post("/v1/people", json=body)
                if answer.status_code != 201:
                    break
                acknowledged.append(f"P{number}")
            assert answer.status_code == 507, answer.text
            assert answer.json()["error"]["code"] == "gallery_full"
            assert str(tmp_path) not in answer.text
            asked = {"person": "P0", "image": image}
            for _ in range(500):
                unwritten = client.post("/v1/verify", json=asked)
                if unwritten.status_code != 200:
                    break
            assert unwritten.status_code == 507, "a decision that cannot be written down is none"
            assert client.get("/health").status_code == 200
            assert client.get("/v1/people").json()["total"] == len(acknowledged)
    finally:
        server.terminate()
        _, log = server.communicate(timeout=30)
    assert server.returncode == 0, log
    assert acknowledged
    assert not any(name in log for name in (image[:40], "P0"))
    with Gallery.open(gallery, keys=Keys(text=bytes(32).hex())) as people:
        assert [person.name for person in people.people()] == sorted(acknowledged)
        assert people.check().whole
        assert people.audit.verify().intact
