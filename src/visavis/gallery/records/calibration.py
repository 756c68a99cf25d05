"""Operating points as they are stored: one calibration for each encoder and kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select

from visavis.gallery.database.tables import operating_point
from visavis.gallery.database.times import now
from visavis.values import EncoderId, OperatingPoint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection


def read(db: Connection, encoder: EncoderId, kind: str) -> list[OperatingPoint]:
    """Give the points of one encoder and kind, by falling false match rate."""
    column = operating_point.c
    query = (
        select(column.tau, column.encoder, column.fmr, column.fmr_upper, column.tuned_on)
        .where(column.encoder == encoder, column.kind == kind)
        .order_by(column.fmr.desc())
    )
    return [OperatingPoint(row[0], EncoderId(row[1]), *row[2:]) for row in db.execute(query)]


def replace(db: Connection, points: Sequence[OperatingPoint], kind: str) -> None:
    """Store points in place of all earlier ones of their encoders and this kind.

    Replaced as a whole, because points of two calibrations side by side are not one curve.
    """
    column, at = operating_point.c, now()
    earlier = column.encoder.in_({point.encoder for point in points})
    db.execute(delete(operating_point).where(earlier, column.kind == kind))
    rows = [
        {
            "encoder": point.encoder,
            "kind": kind,
            "fmr": point.fmr,
            "tau": point.tau,
            "fmr_upper": point.fmr_upper,
            "tuned_on": point.tuned_on,
            "created": at,
        }
        for point in points
    ]
    db.execute(insert(operating_point), rows)
