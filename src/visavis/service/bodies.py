"""Requests' bodies: a form or JSON with photographs in base64, bounded, never on a disk."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import re
import types
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, get_args, get_origin

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
)
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from visavis.errors import BodyTimeout, BodyTooLarge, BodyUnsupported, InputRefused
from visavis.service.refusals import in_words
from visavis.service.state import state_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

_DATA_URL = re.compile(r"data:[\w/+.-]{1,100};base64,")
_FIELD = 1 << 16
"""Bytes of a form's field that is no file."""
_FIELDS = 32


def _bytes(given: object) -> object:
    if isinstance(given, bytes):
        return given
    if not isinstance(given, str):
        raise ValueError("give a photograph: a file, or its bytes in base64")  # noqa: TRY004
    prefix = _DATA_URL.match(given)
    try:
        return base64.b64decode(given[prefix.end() :] if prefix else given, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("this is not base64") from None


PICTURE = {"type": "string", "contentEncoding": "base64", "description": "A photograph's bytes"}
Picture = Annotated[bytes, BeforeValidator(_bytes), WithJsonSchema(PICTURE)]
Rate = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]


class Body(BaseModel):
    """What a request says; an unknown field is a mistake."""

    model_config = ConfigDict(extra="forbid")


class CompareBody(Body):
    """Two photographs."""

    a: Picture
    b: Picture
    fmr: Rate | None = None


class VerifyBody(Body):
    """A photograph, and who it is claimed to be."""

    image: Picture
    person: Annotated[str, Field(min_length=1, max_length=400)]
    fmr: Rate | None = None
    live: Literal["off", "passive"] = "off"


class IdentifyBody(Body):
    """A photograph."""

    image: Picture
    fpir: Rate | None = None
    candidates: Annotated[int, Field(ge=0, le=100)] = 0
    live: Literal["off", "passive"] = "off"


class OnePicture(Body):
    """A photograph."""

    image: Picture


class Pictures(Body):
    """Photographs of one presentation, such as a video's frames."""

    images: Annotated[list[Picture], Field(min_length=1)]


class PhotographsBody(Body):
    """Photographs of somebody enrolled."""

    images: Annotated[list[Picture], Field(min_length=1)]
    force: bool = False
    keep_photographs: bool = False


class EnrolBody(PhotographsBody):
    """Somebody to be enrolled."""

    name: Annotated[str, Field(min_length=1, max_length=400)]
    consent_reference: Annotated[str, Field(max_length=1000)] = ""
    consent_purpose: Annotated[str, Field(max_length=1000)] = ""
    consent_expires: AwareDatetime | None = None


class ConsentBody(Body):
    """What somebody agreed to."""

    reference: Annotated[str, Field(max_length=1000)] = ""
    purpose: Annotated[str, Field(max_length=1000)] = ""
    expires: AwareDatetime | None = None


class PersonBody(Body):
    """What is to be changed of somebody."""

    name: Annotated[str, Field(min_length=1, max_length=400)] | None = None
    consent: ConsentBody | None = None


class KeyBody(Body):
    """A key to be made."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    roles: Annotated[list[Literal["read", "identify", "enroll", "admin"]], Field(min_length=1)]
    expires: AwareDatetime | None = None


class LoginBody(Body):
    """A key to begin a session with."""

    key: Annotated[str, Field(max_length=200)]


B = TypeVar("B", bound=Body)


class _InMemory(MultiPartParser):
    """Photographs are not to be on the service's disk, not for a moment either."""

    spool_max_size = 1 << 31


def described(model: type[Body]) -> dict[str, Any]:
    """Describe a body to OpenAPI: as JSON, and as a form where it holds photographs."""
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    schema.pop("$defs", None)
    content = {"application/json": {"schema": schema}}
    if any(_pictures(field.annotation) for field in model.model_fields.values()):
        form = {**schema, "properties": {k: _as_file(v) for k, v in schema["properties"].items()}}
        content = {"multipart/form-data": {"schema": form}, **content}
    return {"requestBody": {"required": True, "content": content}}


@asynccontextmanager
async def admitted(request: Request, model: type[B]) -> AsyncIterator[B]:
    """Take a request in, read its body and give what it says; it counts until the block ends.

    Raises
    ------
    ServiceBusy, BodyTooLarge, BodyTimeout, BodyUnsupported, InputRefused
    """
    with state_of(request).work.admit():
        yield await read(request, model)


async def read(
    request: Request,
    model: type[B],
    most: int | None = None,
    patience: float | None = None,
) -> B:
    """Read a body within the limits, or at most ``most`` bytes of it; see ``admitted``."""
    limits = state_of(request).config.limits
    most = limits.body if most is None else most
    patience = limits.patience if patience is None else patience
    try:
        async with asyncio.timeout(patience):
            said = await _said(request, model, most, limits.images)
    except TimeoutError:
        raise BodyTimeout(f"the request did not arrive in {patience:g} seconds") from None
    except ClientDisconnect:
        raise BodyTimeout("the connection ended before the request did") from None
    # Looked at before it is validated: each of a million mistakes would be described.
    if len(said) > _FIELDS:
        raise InputRefused(f"{len(said)} fields; no request has so many")
    for value in said.values():
        if isinstance(value, list) and len(value) > limits.images:
            raise BodyTooLarge(f"{len(value)} photographs; at most {limits.images} are taken")
        if isinstance(value, dict) and len(value) > _FIELDS:
            raise InputRefused(f"{len(value)} fields; no request has so many")
    try:
        return model.model_validate(said)
    except ValidationError as fault:
        raise InputRefused(in_words(fault.errors(include_input=False, include_url=False))) from None


async def _said(request: Request, model: type[Body], most: int, images: int) -> dict[str, Any]:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    stream = _bounded(request, most)
    if kind == "multipart/form-data":
        parser = _InMemory(
            request.headers,
            stream,
            max_files=images + 1,
            max_fields=len(model.model_fields) + 1,
            max_part_size=_FIELD,
        )
        try:
            form = await parser.parse()
        except MultiPartException as fault:
            if "too many" in fault.message.lower() or "exceeded" in fault.message.lower():
                raise BodyTooLarge(fault.message) from None
            raise InputRefused(f"the form cannot be read: {fault.message}") from None
        except (KeyError, ValueError, AttributeError):
            raise InputRefused("the form cannot be read") from None
        try:
            return await _of_form(form.multi_items(), model)
        finally:
            await form.close()
    if kind == "application/json":
        return _of_json(b"".join([chunk async for chunk in stream]))
    raise BodyUnsupported("send multipart/form-data, or application/json with base64 photographs")


def _of_json(content: bytes) -> dict[str, Any]:
    try:
        said = json.loads(content)
    except (ValueError, RecursionError):
        raise InputRefused("the body is no JSON") from None
    if not isinstance(said, dict):
        raise InputRefused("the body is JSON, and no object")
    return said


async def _bounded(request: Request, most: int) -> AsyncGenerator[bytes]:
    said = request.headers.get("content-length", "0")
    taken = int(said) if said.isdecimal() else 0
    if taken > most:
        raise BodyTooLarge(f"the request holds {taken} bytes; at most {most} are taken")
    taken = 0
    async for chunk in request.stream():
        taken += len(chunk)
        if taken > most:
            raise BodyTooLarge(f"the request holds more than {most} bytes")
        yield chunk


async def _of_form(items: list[tuple[str, str | UploadFile]], model: type[Body]) -> dict[str, Any]:
    said: dict[str, Any] = {}
    for name, value in items:
        field = model.model_fields.get(name)
        content: object = await value.read() if isinstance(value, UploadFile) else value
        if field is not None and get_origin(_bare(field.annotation)) is list:
            said.setdefault(name, []).append(content)
        elif name in said:
            raise InputRefused(f"{name}: given more than once")
        elif content != "" or field is None or field.is_required():
            said[name] = content
    return said


def _bare(annotation: Any) -> Any:  # noqa: ANN401
    """Give the type without None."""
    if get_origin(annotation) is types.UnionType:
        return next(each for each in get_args(annotation) if each is not type(None))
    return annotation


def _pictures(annotation: Any) -> bool:  # noqa: ANN401
    return annotation is bytes or any(
        each is bytes or _pictures(each) for each in get_args(annotation)
    )


def _as_file(field: dict[str, Any]) -> dict[str, Any]:
    if field.get("contentEncoding"):
        return {**field, "format": "binary"}
    if field.get("items", {}).get("contentEncoding"):
        return {**field, "items": _as_file(field["items"])}
    return field
