"""The error tree: stable codes, documented where people look."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from visavis import errors
from visavis.errors import (
    EncoderMismatch,
    GalleryError,
    ImageNotFound,
    ImageRefused,
    ImageTooLarge,
    InputRefused,
    ModelError,
    NoFaceFound,
    NotCalibrated,
    VisavisError,
)

DOCS = Path(__file__).parents[1] / "docs" / "errors.md"

CODES = {
    "ApiKeyUnknown": "api_key_unknown",
    "BodyTimeout": "timeout",
    "BodyTooLarge": "body_too_large",
    "BodyUnsupported": "unsupported_media_type",
    "ChallengeRefused": "challenge_refused",
    "CheckpointRefused": "checkpoint_refused",
    "ConsentExpired": "consent_expired",
    "ConsentRefused": "consent_refused",
    "CopyDiffers": "copy_differs",
    "CopyRefused": "copy_refused",
    "DuplicatePerson": "duplicate_person",
    "EncoderMismatch": "encoder_mismatch",
    "Forbidden": "forbidden",
    "GalleryBusy": "gallery_busy",
    "GalleryError": "gallery_error",
    "GalleryFull": "gallery_full",
    "GalleryReadOnly": "gallery_read_only",
    "GalleryRequired": "gallery_required",
    "GalleryTampered": "gallery_tampered",
    "GalleryTooNew": "gallery_too_new",
    "GalleryUnfinished": "gallery_unfinished",
    "GalleryUnreachable": "gallery_unreachable",
    "GalleryUnusable": "gallery_unusable",
    "HeadMissing": "head_missing",
    "IdempotencyConflict": "idempotency_conflict",
    "ImageNotFound": "image_not_found",
    "ImageRefused": "image_refused",
    "ImageTooLarge": "image_too_large",
    "ImageTooSmall": "image_too_small",
    "ImageUnreadable": "image_unreadable",
    "InputRefused": "input_refused",
    "KeyExposed": "key_exposed",
    "KeyMalformed": "key_malformed",
    "KeyMissing": "key_missing",
    "KeyRefused": "key_refused",
    "KeyWornOut": "key_worn_out",
    "KeyWrong": "key_wrong",
    "MethodRefused": "method_not_allowed",
    "MissingExtra": "missing_extra",
    "ModelDigestMismatch": "model_digest_mismatch",
    "ModelError": "model_error",
    "ModelNotFound": "model_not_found",
    "ModelRefused": "model_refused",
    "ModelUnknown": "model_unknown",
    "NameRefused": "name_refused",
    "NoFaceFound": "no_face_found",
    "NotCalibrated": "not_calibrated",
    "NothingThere": "not_found",
    "OperatingPointRefused": "operating_point_refused",
    "PackRefused": "pack_refused",
    "PackUnwritable": "pack_unwritable",
    "PersonExists": "person_exists",
    "PersonMismatch": "person_mismatch",
    "PersonUnknown": "person_unknown",
    "PoorQuality": "poor_quality",
    "ProtocolRefused": "protocol_refused",
    "SearchUnavailable": "search_unavailable",
    "ServiceBusy": "busy",
    "ServiceError": "service_error",
    "ServiceUnprotected": "service_unprotected",
    "ServiceUnreachable": "service_unreachable",
    "SeveralFaces": "several_faces",
    "TemplateRefused": "template_refused",
    "TooManyAttempts": "too_many_attempts",
    "TooManyRequests": "too_many_requests",
    "TrainingRefused": "training_refused",
    "Unauthenticated": "unauthenticated",
    "VideoTooLong": "video_too_long",
    "VideoUnreadable": "video_unreadable",
    "VisavisError": "error",
}
"""Public: a code that changes breaks a script that reads it. New errors are added here."""

TREE = {
    name: cls
    for name, cls in vars(errors).items()
    if inspect.isclass(cls) and issubclass(cls, VisavisError)
}


def test_codes_are_what_they_always_were():
    assert {name: cls.code for name, cls in TREE.items()} == CODES


def test_no_two_errors_share_a_code():
    assert len({cls.code for cls in TREE.values()}) == len(TREE)


@pytest.mark.parametrize("name", TREE)
def test_every_error_states_its_own_code_and_meaning(name):
    own = vars(TREE[name])
    assert "code" in own
    assert own["__doc__"].strip().endswith(".")


def drawn() -> dict[str, str]:
    """Class name to the name of its parent, read off the tree in the module's docstring."""
    parents: dict[str, str] = {}
    branch = {0: "VisavisError"}
    for line in errors.__doc__.splitlines():
        if not (drawing := re.match(r"    ([│ ]*)[├└]── (.*)", line)):
            continue
        depth = len(drawing[1]) // 4 + 1
        names = re.match(r"[A-Z]\w+(, [A-Z]\w+)*", drawing[2])[0].split(", ")
        for name in names:
            parents[name] = branch[depth - 1]
        branch[depth] = names[-1]
    return parents


def test_the_tree_in_the_docstring_is_the_tree():
    real = {name: cls.__mro__[1].__name__ for name, cls in TREE.items() if cls is not VisavisError}
    assert drawn() == real


@pytest.mark.parametrize("name", TREE)
def test_every_error_has_its_row_in_the_documentation(name):
    row = f"| `{CODES[name]}` | `{name}` | "
    assert DOCS.read_text("utf-8").count(row) == 1


def test_the_documentation_lists_no_error_that_is_gone():
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \|", DOCS.read_text("utf-8"), re.MULTILINE)
    assert {name: code for code, name in rows} == CODES


@pytest.mark.parametrize(
    ("raised", "caught"),
    [
        (ImageTooLarge, ImageRefused),
        (ImageNotFound, InputRefused),
        (NoFaceFound, InputRefused),
        (EncoderMismatch, ModelError),
        (NotCalibrated, VisavisError),
    ],
)
def test_a_branch_catches_what_grows_on_it(raised, caught):
    with pytest.raises(caught):
        raise raised


def test_branches_do_not_overlap():
    for name, cls in TREE.items():
        branches = [b for b in (InputRefused, GalleryError, ModelError) if issubclass(cls, b)]
        assert len(branches) <= 1, name
