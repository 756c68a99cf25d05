"""Evaluations in words: a few lines for the terminal; the report holds the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

    from visavis.evaluate.findings import Degraded, Liveness
    from visavis.evaluate.identification import OpenSet
    from visavis.evaluate.intervals import Interval
    from visavis.evaluate.protocols import Verification
    from visavis.evaluate.run import NewPoints


def percent(found: Interval) -> str:
    """Spell a share with its interval."""
    return f"{100 * found.value:.2f} % [{100 * found.low:.2f}, {100 * found.high:.2f}]"


def verification_text(results: Sequence[Verification]) -> str:
    """Say what was measured by comparing."""
    lines: list[str] = []
    for result in results:
        done = result.comparisons
        lines += [
            click.style("promise broken: ", fg="red")
            + f"at FMR {point.fmr:g} (tau {point.tau:.3f}) {point.measured_fmr.value:.2g} "
            f"was measured, at most {point.promised_upper:.2g} was promised"
            for point in result.points
            if not point.kept
        ]
        lines.append(f"{result.setting.encoder} on {result.setting.data}")
        lines.append(
            f"  {done.curve.mated:,} mated and {done.curve.nonmated:,} non-mated comparisons of "
            f"{done.people:,} people; {len(done.failed)} of {len(done.names):,} photographs failed "
            "to be acquired"
        )
        if result.accuracy:
            mean, error = 100 * result.accuracy.mean, 100 * result.accuracy.se
            lines.append(f"  accuracy over folds   {mean:.2f} +- {error:.2f} %")
        lines.append(f"  equal error rate      {100 * result.eer:.2f} %")
        lines += [f"  TAR at FAR {far:<10} {percent(tar)}" for far, tar in result.tar.items()]
        lines += [f"  {remark}" for remark in done.remarks]
    return "\n".join(lines)


def degraded_json(row: Degraded) -> dict[str, Any]:
    """Spell one row of the robustness table."""
    return {
        "encoder": row.encoder,
        "photographs": str(row.step) if row.step else "as they are",
        "failed_to_acquire": row.failed,
        "of": row.photographs,
        "accuracy": row.accuracy.mean if row.accuracy else None,
        "tar": {far: tar.as_json() for far, tar in row.tar.items()},
    }


def degraded_text(rows: Sequence[Degraded]) -> str:
    """Lay the robustness table out."""
    lines = [f"{'photographs':<16} {'no face':>9} {'TAR@1e-2':>9} {'TAR@1e-3':>9}"]
    for row in rows:
        tar = [
            f"{100 * row.tar[far].value:.2f} %" if far in row.tar else "-"
            for far in ("1e-2", "1e-3")
        ]
        failed = f"{100 * row.failed / row.photographs:.2f} %"
        name = str(row.step) if row.step else "as they are"
        lines.append(f"{name:<16} {failed:>9} {tar[0]:>9} {tar[1]:>9}")
    return "\n".join(lines)


def identification_text(results: Sequence[OpenSet]) -> str:
    """Say what was measured by searching."""
    lines: list[str] = []
    for result in results:
        lines.append(
            f"{result.setting.encoder} on {result.setting.data}: {result.mated:,} people enrolled "
            f"from {result.per_person} photograph(s) each and looked for, {result.strangers:,} "
            f"strangers; {len(result.failed)} photographs failed to be acquired"
        )
        for size in result.sizes:
            rates = "  ".join(f"FNIR at FPIR {r} {percent(v)}" for r, v in size.fnir.items())
            lines.append(f"  {size.people:6,} enrolled: rank 1 {100 * size.rank1:.2f} %  {rates}")
        for rate, tau, fpir, fnir in result.promised:
            lines.append(
                f"  at the encoder's own tau {tau:.3f} for FPIR {rate:g}: FPIR {percent(fpir)}, "
                f"FNIR {percent(fnir)}"
            )
        lines += [f"  {remark}" for remark in result.remarks]
    return "\n".join(lines)


def liveness_text(result: Liveness) -> str:
    """Say what was measured of liveness scores."""
    lines = [f"{result.setting.data}: {len(result.live.score):,} live presentations"]
    for species, apart in result.separation.items():
        lines.append(f"  {species:<16} EER {percent(apart.eer)}  AUC {apart.auc.value:.4f}")
    for point in result.points:
        lines.append(f"  at threshold {point.threshold:.4f}: BPCER {percent(point.bpcer)}")
        lines += [f"    APCER {species:<12} {percent(r)}" for species, r in point.apcer.items()]
    lines += [f"  {remark}" for remark in result.remarks]
    return "\n".join(lines)


def calibration_text(done: NewPoints) -> str:
    """Say which points were found, and first whether such points keep their promise."""
    lines = [
        click.style("promise not kept: ", fg="red")
        + f"tuned on half of the people for FMR {promise.point.fmr:g} (at most "
        f"{promise.point.upper:.2g}), the other half had {promise.measured.value:.2g} "
        f"({promise.verdict})"
        for promise in done.checked.outside
    ]
    lines += done.checked.remarks
    found = done.calibration
    lines.append(f"{found.pairs:,} comparisons of {found.people:,} people")
    for point in (*found.points, *found.beyond):
        if point.fmr < 1e-9:
            break
        note = "extrapolated" if point.extrapolated else f"measured {point.measured:.2g}"
        lines.append(
            f"  FMR {point.fmr:<10.3g} tau {point.tau:.4f}  [{point.lower:.2g}, {point.upper:.2g}]"
            f"  {note}"
        )
    return "\n".join(lines)
