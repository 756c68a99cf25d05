"""JSON to what the desk looks at: people, removals, operating points, the audit log, keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from visavis.client.reading import person
from visavis.client.told import (
    AuditEntry,
    AuditFault,
    AuditReport,
    Erasure,
    Info,
    Key,
    Leftover,
    MeasuredPoint,
    MissedPoint,
    OperatingPoints,
    Page,
    Removal,
    SearchPoint,
    StoredTemplate,
)
from visavis.values import EncoderId, OperatingPoint, PersonId, TemplateId

if TYPE_CHECKING:
    from datetime import datetime

    from visavis.client.parts import Part


def page(said: Part) -> Page:
    """Read a page of people."""
    people = tuple(person(each) for each in said.parts("people"))
    return Page(people, said.count("total"), _text(said, "next"))


def template(said: Part) -> StoredTemplate:
    """Read a template's outside."""
    kept = said.flag("photograph_kept")
    return StoredTemplate(TemplateId(said.text("id")), said.moment("created"), kept)


def removal(said: Part) -> Removal:
    """Read what a removal erased."""
    gone = said.part("removed")
    return Removal(
        PersonId(gone.text("id")),
        gone.text("name"),
        said.count("templates"),
        said.flag("erased"),
        said.texts("remains"),
    )


def erasure(said: Part) -> Erasure:
    """Read what is left of somebody."""
    left = tuple(
        Leftover(each.text("where"), each.text("what"), each.count("count"))
        for each in said.parts("leftovers")
    )
    who = PersonId(said.text("person"))
    return Erasure(who, said.count("templates"), left, said.texts("not_looked"))


def info(said: Part) -> Info:
    """Read what the gallery holds."""
    return Info(
        id=said.text("id"),
        schema_version=said.count("schema_version"),
        encoder=EncoderId(said.text("encoder")) if said.has("encoder") else None,
        encoder_name=_text(said, "encoder_name"),
        people=said.count("people"),
        templates=said.count("templates"),
        photographs=said.count("photographs"),
        bytes_on_disk=said.count("bytes"),
        created=said.moment("created"),
        writable=said.flag("writable"),
    )


def operating_points(said: Part) -> OperatingPoints:
    """Read what each error rate takes."""
    encoder, tuned_on = EncoderId(said.text("encoder")), said.text("tuned_on")
    defaults = said.part("defaults")
    claims = tuple(
        OperatingPoint(
            each.number("tau"),
            encoder,
            each.number("fmr"),
            each.number("fmr_upper"),
            tuned_on,
            each.flag("extrapolated"),
        )
        for each in said.parts("verification")
    )
    searches = tuple(
        SearchPoint(each.number("tau"), each.number("fpir"), each.flag("extrapolated"))
        for each in said.parts("identification")
    )
    names = ("fmr", "tau", "lower", "upper")
    curve = tuple(MeasuredPoint(*map(each.number, names)) for each in said.parts("curve"))
    names = ("fnmr", "tau", "lower", "upper")
    misses = tuple(MissedPoint(*map(each.number, names)) for each in said.parts("misses"))
    return OperatingPoints(
        encoder=encoder,
        encoder_name=said.text("encoder_name"),
        tuned_on=tuned_on,
        pairs=said.count("pairs"),
        gallery_size=said.count("gallery_size"),
        fmr=defaults.number("fmr"),
        fpir=defaults.number("fpir"),
        verification=claims,
        identification=searches,
        curve=curve,
        misses=misses,
        mated=said.count("mated"),
    )


def audit_entry(said: Part) -> AuditEntry:
    """Read an entry of the audit log."""
    return AuditEntry(
        seq=said.count("seq"),
        at=said.text("at"),
        actor=said.text("actor"),
        action=said.text("action"),
        subject=said.text("subject"),
        details=said.raw("details"),
        previous=said.text("previous"),
        hash=said.text("hash"),
        signature=_text(said, "signature"),
    )


def audit_report(said: Part) -> AuditReport:
    """Read whether the audit log is whole."""
    faults = tuple(
        AuditFault(each.count("entry"), each.text("kind"), each.text("message"))
        for each in said.parts("faults")
    )
    if said.flag("intact") is not (not faults):
        said.strange("intact")
    signed = said.count("signed") if said.has("signed") else None
    return AuditReport(said.count("entries"), said.text("anchor"), signed, faults)


def key(said: Part) -> Key:
    """Read an API key, without its secret."""
    return Key(
        said.text("id"),
        said.text("name"),
        frozenset(said.texts("roles")),
        said.moment("created"),
        _moment(said, "expires"),
        _moment(said, "last_used"),
        _moment(said, "revoked"),
    )


def _text(said: Part, name: str) -> str | None:
    return said.text(name) if said.has(name) else None


def _moment(said: Part, name: str) -> datetime | None:
    return said.moment(name) if said.has(name) else None
