"""The threads that requests share, the audit log's own, and what is left when somebody gives up."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest

from visavis.errors import ServiceBusy
from visavis.gallery import Gallery
from visavis.service.ledger import Ledger
from visavis.service.work import Work


def test_calls_that_are_given_up_leave_nothing_waiting_and_free_no_place():
    stuck, ran = threading.Event(), []

    async def story() -> None:
        work = Work(1, 2, patience=0.1)
        with pytest.raises(ServiceBusy, match="not answered"):
            await work.run(stuck.wait, 20)
        for _ in range(20):
            with pytest.raises(ServiceBusy):
                await work.run(ran.append, 1)
        crowd = [asyncio.create_task(work.run(ran.append, 1)) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(ServiceBusy, match="wait already"), work.admit():
            pass
        await asyncio.gather(*crowd, return_exceptions=True)
        stuck.set()
        while work._inside:
            await asyncio.sleep(0.01)
        assert await work.run(np.add, 1, 1) == 2
        work.close()
        with pytest.raises(ServiceBusy, match="stopped"), work.admit():
            pass

    asyncio.run(story())
    assert ran == [], "what was given up before it began is not done later"


def test_an_entry_is_written_for_who_does_not_wait_any_more(tmp_path):
    with Gallery.open(tmp_path / "people.db", keys=bytes(32)) as gallery:
        ledger = Ledger(gallery)

        async def story() -> None:
            gone = asyncio.create_task(ledger.recorded("a", "verify", outcome="same"))
            await asyncio.sleep(0)
            gone.cancel()
            await ledger.recorded("a", "verify", outcome="different")

        asyncio.run(story())
        ledger.close()
        done = [entry.details.get("outcome") for entry in gallery.audit.entries()]
        assert [each for each in done if each] == ["same", "different"]
        with pytest.raises(ServiceBusy):
            ledger.record("a", "verify")
