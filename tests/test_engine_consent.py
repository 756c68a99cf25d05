"""Who agreed until now is not recognised any more, and takes nobody's place."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from visavis.engine import Engine, EngineConfig
from visavis.errors import ConsentExpired, ConsentRefused
from visavis.models import Cores, ModelStore
from visavis.values import Consent

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def people(tmp_path: Path, store: ModelStore, photographs: dict[str, Path]) -> Iterator[Engine]:
    config = EngineConfig(store=store, cores=Cores(threads=1))
    with Engine.open(tmp_path / "people.db", config) as engine:
        engine.enroll("Obama", [photographs["obama.jpg"]], consent=Consent("form 44", "the door"))
        engine.enroll("Biden", [photographs["biden.jpg"]])
        yield engine


def ended(engine: Engine, name: str) -> None:
    moment = datetime.now(UTC) + timedelta(seconds=0.2)
    engine.gallery.renew(name, Consent("form 44", expires=moment))
    time.sleep(0.25)


def test_a_consent_given_at_enrolment_is_kept(people: Engine) -> None:
    assert people.gallery.person("Obama").consent == Consent("form 44", "the door")
    assert people.gallery.person("Biden").consent == Consent()


def test_from_its_end_on_nobody_is_recognised_as_them(
    people: Engine, photographs: dict[str, Path]
) -> None:
    seen = photographs["obama2.jpg"]
    assert people.verify(seen, "Obama").accepted
    (face,) = people.identify(seen, candidates=2).faces
    assert face.person is not None
    assert face.person.name == "Obama"
    ended(people, "Obama")
    with pytest.raises(ConsentExpired, match="Obama"):
        people.verify(seen, "Obama")
    (face,) = people.identify(seen, candidates=2).faces
    assert face.person is face.matched is None
    # The next nearest is looked for in their place, however few were asked for.
    assert [candidate.person.name for candidate in face.candidates] == ["Biden"]
    (face,) = people.identify(seen).faces
    assert face.distance is not None
    assert face.person is None


def test_a_new_consent_brings_them_back_and_expiry_erases_them(
    people: Engine, photographs: dict[str, Path]
) -> None:
    seen, again = photographs["obama2.jpg"], [photographs["obama3.jpg"]]
    ended(people, "Obama")
    with pytest.raises(ConsentExpired, match="new one"):
        people.enroll("Obama", again, force=True)
    later = Consent("form 45", expires=datetime.now(UTC) + timedelta(days=1))
    people.enroll("Obama", again, consent=later, force=True)
    assert people.verify(seen, "Obama").accepted
    ended(people, "Obama")
    assert [person.name for person in people.gallery.expire().persons] == ["Obama"]
    assert [person.name for person in people.gallery.people()] == ["Biden"]


def test_a_consent_that_is_over_is_refused(people: Engine, photographs: dict[str, Path]) -> None:
    over = Consent(expires=datetime.now(UTC) - timedelta(days=1))
    with pytest.raises(ConsentRefused, match="ended"):
        people.enroll("Again", [photographs["obama3.jpg"]], consent=over, force=True)
    assert people.gallery.size == 2
