"""Every error that visavis raises on purpose: one tree, stable codes.

::

    VisavisError
    ├── InputRefused            the photograph or the request cannot be used
    │   ├── ImageRefused        not a picture that can be read
    │   │   ├── ImageNotFound, ImageUnreadable, ImageTooLarge, ImageTooSmall
    │   │   ├── VideoUnreadable, VideoTooLong
    │   ├── NoFaceFound, SeveralFaces, PoorQuality, TooManyAttempts
    │   ├── PackRefused, PackUnwritable, TrainingRefused, CheckpointRefused
    │   └── NameRefused, ConsentRefused, ProtocolRefused, ChallengeRefused
    ├── GalleryError            the store of people
    │   ├── GalleryUnusable, GalleryUnreachable, GalleryReadOnly, GalleryBusy, GalleryFull
    │   ├── GalleryTooNew, GalleryUnfinished, CopyRefused, CopyDiffers, ConsentExpired
    │   ├── PersonUnknown, PersonExists, PersonMismatch, DuplicatePerson, TemplateRefused
    │   ├── KeyRefused          the key that opens its templates
    │   │   ├── KeyMissing, KeyExposed, KeyMalformed, KeyWrong, KeyWornOut
    │   ├── GalleryTampered, SearchUnavailable
    │   └── GalleryRequired
    ├── ModelError              the networks
    │   ├── ModelUnknown, ModelNotFound, ModelDigestMismatch, ModelRefused
    │   ├── EncoderMismatch, NotCalibrated, HeadMissing, OperatingPointRefused
    ├── ServiceError            answering over the network
    │   ├── Unauthenticated, Forbidden, NothingThere, MethodRefused, TooManyRequests
    │   ├── ServiceBusy, BodyTooLarge, BodyTimeout, BodyUnsupported
    │   ├── ApiKeyUnknown, IdempotencyConflict
    │   └── ServiceUnprotected, ServiceUnreachable
    └── MissingExtra            an optional dependency is not installed

The ``code`` of each is part of the public interface: it stands in the command line's
``code: message`` line and in JSON, and does not change between versions. The message says what
is wrong and what to do about it.
"""

from __future__ import annotations

from typing import ClassVar


class VisavisError(Exception):
    """Anything that visavis refuses or cannot do; the root of the tree."""

    code: ClassVar[str] = "error"


class InputRefused(VisavisError):
    """What was handed in cannot be used."""

    code = "input_refused"


class ImageRefused(InputRefused):
    """The bytes are not a picture that can be read."""

    code = "image_refused"


class ImageNotFound(ImageRefused):
    """There is no such file, or it is no regular file, or it may not be read."""

    code = "image_not_found"


class ImageUnreadable(ImageRefused):
    """Empty, truncated, damaged, or of a kind that is not decoded."""

    code = "image_unreadable"


class ImageTooLarge(ImageRefused):
    """More pixels or bytes than the limit; refused before it is decoded."""

    code = "image_too_large"


class ImageTooSmall(ImageRefused):
    """Too few pixels to hold a face."""

    code = "image_too_small"


class VideoUnreadable(ImageRefused):
    """No video, damaged before its first frame, or of a kind that is not decoded."""

    code = "video_unreadable"


class VideoTooLong(ImageRefused):
    """More seconds, frames or bytes of video than the limit, or without an end."""

    code = "video_too_long"


class NoFaceFound(InputRefused):
    """The image holds no face that the detector trusts."""

    code = "no_face_found"


class SeveralFaces(InputRefused):
    """More than one face could be the subject, and choosing would be guessing."""

    code = "several_faces"


class PoorQuality(InputRefused):
    """The face would make a bad template; the message says what to do."""

    code = "poor_quality"


class TooManyAttempts(InputRefused):
    """A subject failed too often within a short time, and has to wait.

    ``seconds`` says how long, from when it was raised.
    """

    code = "too_many_attempts"

    def __init__(self, message: str, seconds: float = 0.0) -> None:
        super().__init__(message)
        self.seconds = seconds


class ProtocolRefused(InputRefused):
    """A list of pairs, people or presentations that nothing can be measured on."""

    code = "protocol_refused"


class ChallengeRefused(InputRefused):
    """A challenge that was not issued here, has expired, or was answered before."""

    code = "challenge_refused"


class PackRefused(InputRefused):
    """A folder that is no training set, is damaged or unfinished, or holds something else."""

    code = "pack_refused"


class PackUnwritable(InputRefused):
    """A training set cannot be written, most often because the disk is full."""

    code = "pack_unwritable"


class TrainingRefused(InputRefused):
    """A run of training that cannot be done as it is asked for."""

    code = "training_refused"


class CheckpointRefused(InputRefused):
    """A checkpoint that is missing, damaged, another version's, or of another run."""

    code = "checkpoint_refused"


class ConsentRefused(InputRefused):
    """A consent cannot be recorded as it was given."""

    code = "consent_refused"


class NameRefused(InputRefused):
    """A person's name is empty, too long, or holds control characters."""

    code = "name_refused"


class GalleryError(VisavisError):
    """The store of people cannot do what was asked."""

    code = "gallery_error"


class GalleryRequired(GalleryError):
    """The engine was opened without a gallery, and the call needs one."""

    code = "gallery_required"


class GalleryUnusable(GalleryError):
    """The file is not a gallery, is damaged, or cannot be opened."""

    code = "gallery_unusable"


class GalleryReadOnly(GalleryError):
    """The gallery may be read but not written."""

    code = "gallery_read_only"


class GalleryBusy(GalleryError):
    """Another process holds the gallery's write lock for too long."""

    code = "gallery_busy"


class GalleryUnreachable(GalleryError):
    """The gallery's server is down, or the way to it is."""

    code = "gallery_unreachable"


class GalleryFull(GalleryError):
    """The disk is full; nothing of the change was stored."""

    code = "gallery_full"


class GalleryTooNew(GalleryError):
    """The gallery was written by a newer visavis than this one."""

    code = "gallery_too_new"


class GalleryUnfinished(GalleryError):
    """The gallery is the half-finished copy of another; nothing is answered from it."""

    code = "gallery_unfinished"


class CopyRefused(GalleryError):
    """A copy would overwrite something, or people would be lost by it."""

    code = "copy_refused"


class CopyDiffers(GalleryError):
    """A copy does not hold what it should, by count and digest."""

    code = "copy_differs"


class PersonUnknown(GalleryError):
    """Nobody of that name or id is enrolled."""

    code = "person_unknown"


class PersonExists(GalleryError):
    """Somebody of that name is enrolled already."""

    code = "person_exists"


class DuplicatePerson(GalleryError):
    """The face to be enrolled matches a person enrolled under another name."""

    code = "duplicate_person"


class PersonMismatch(GalleryError):
    """The face to be added to a person does not look like the templates already there."""

    code = "person_mismatch"


class ConsentExpired(GalleryError):
    """What the person agreed to has ended, so nobody is recognised as them any more."""

    code = "consent_expired"


class TemplateRefused(GalleryError):
    """A vector is of the wrong length, not finite, or not of unit length."""

    code = "template_refused"


class KeyRefused(GalleryError):
    """The gallery's templates are sealed, and the key at hand does not do."""

    code = "key_refused"


class KeyMissing(KeyRefused):
    """The master key is not where it should be, or may not be read."""

    code = "key_missing"


class KeyExposed(KeyRefused):
    """Others may read the file of the master key, so it is not used."""

    code = "key_exposed"


class KeyMalformed(KeyRefused):
    """What should be a master key is not 32 bytes in hexadecimal or base64."""

    code = "key_malformed"


class KeyWrong(KeyRefused):
    """The master key is another one than the gallery was sealed with."""

    code = "key_wrong"


class KeyWornOut(KeyRefused):
    """A data key has sealed as many rows as one key safely can."""

    code = "key_worn_out"


class GalleryTampered(GalleryError):
    """A sealed row or an audit entry is not what was written."""

    code = "gallery_tampered"


class SearchUnavailable(GalleryError):
    """The search engine beside the gallery is down, slow, or holds something else."""

    code = "search_unavailable"


class ModelError(VisavisError):
    """A network cannot be found, trusted or used."""

    code = "model_error"


class ModelUnknown(ModelError):
    """No manifest of that name."""

    code = "model_unknown"


class ModelNotFound(ModelError):
    """A manifest is there but its weights are not; the message names where to get them."""

    code = "model_not_found"


class ModelDigestMismatch(ModelError):
    """The weights are not the ones the manifest names."""

    code = "model_digest_mismatch"


class ModelRefused(ModelError):
    """A manifest or graph that cannot be used, with the reason."""

    code = "model_refused"


class EncoderMismatch(ModelError):
    """Encodings of different encoders were about to be compared."""

    code = "encoder_mismatch"


class NotCalibrated(ModelError):
    """The encoder has no operating point at the wanted error rate."""

    code = "not_calibrated"


class HeadMissing(ModelError):
    """No pair head was trained for the encoder, so nothing can be decided by one."""

    code = "head_missing"


class OperatingPointRefused(ModelError):
    """An error rate that makes no sense, or that no data here can vouch for."""

    code = "operating_point_refused"


class ServiceError(VisavisError):
    """A request over the network that is not answered as it was asked."""

    code = "service_error"


class Unauthenticated(ServiceError):
    """No key or session came with the request, or one that opens nothing (any more)."""

    code = "unauthenticated"


class Forbidden(ServiceError):
    """The key is good, and its roles do not hold what was asked for."""

    code = "forbidden"


class NothingThere(ServiceError):
    """There is nothing at that address."""

    code = "not_found"


class MethodRefused(ServiceError):
    """There is something at that address, and it does not take this method."""

    code = "method_not_allowed"


class TooManyRequests(ServiceError):
    """A key asks faster than it may; ``seconds`` says how long to wait."""

    code = "too_many_requests"

    def __init__(self, message: str, seconds: float = 1.0) -> None:
        super().__init__(message)
        self.seconds = seconds


class ServiceBusy(ServiceError):
    """As many requests wait as may wait, or the service is being stopped: ask again."""

    code = "busy"


class BodyTooLarge(ServiceError):
    """A request holds more bytes, parts or photographs than are taken."""

    code = "body_too_large"


class BodyTimeout(ServiceError):
    """A request did not arrive in time."""

    code = "timeout"


class BodyUnsupported(ServiceError):
    """A request's body is neither JSON nor a form."""

    code = "unsupported_media_type"


class ApiKeyUnknown(ServiceError):
    """There is no such API key."""

    code = "api_key_unknown"


class IdempotencyConflict(ServiceError):
    """A request's name was given to another one, or to one that is worked on now."""

    code = "idempotency_conflict"


class ServiceUnprotected(ServiceError):
    """The service would let everybody in, or send keys in the clear, and does not start."""

    code = "service_unprotected"


class ServiceUnreachable(ServiceError):
    """A client cannot reach the service, or does not understand its answer."""

    code = "service_unreachable"


class MissingExtra(VisavisError):
    """An optional dependency is not installed; the message holds the command."""

    code = "missing_extra"
