"""Masking: a request as it may be shown, with every credential masked, wherever it stands and however it is spelt."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

from pydantic import BaseModel, SecretStr

from dispatcher.secrecy.masking import MASK
from dispatcher.secrecy.quoted_values import mask_values
from dispatcher.secrecy.secret_names import is_secret

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dispatcher.tasks.destinations.http.request import Request

# Characters. A shorter credential is not masked, since its text would be found in too much else.
_MIN_CHARACTERS: Final = 4


def secrets_of(options: BaseModel) -> frozenset[str]:
    """Every credential that the options hold, at whatever depth."""
    return frozenset(secret for secret in _find_secrets(options) if len(secret) >= _MIN_CHARACTERS)


def mask(text: str, secrets: frozenset[str]) -> str:
    """Replace credentials in a text by ``***``, as they are and as URLs and JSON spell them."""
    return mask_values(text, sorted(secrets, key=len, reverse=True))


def request_to_show(request: Request, secrets: frozenset[str]) -> dict[str, Any]:
    """A request as JSON values: method, URL, headers and body, masked.

    The body is shown before compression, JSON as its value, a form as an object, and bytes that are not text in base64.

    Args:
        request: The request as it goes out.
        secrets: What ``secrets_of`` found in the destination's options.
    """
    compressed = request.headers.get("Content-Encoding") == "gzip"
    text = mask(_to_text(gzip.decompress(request.body) if compressed else request.body), secrets)
    if request.headers.get("Content-Type") == "application/x-www-form-urlencoded":
        body: Any = {
            # Only an object is JSON here: a signature of digits stays text.
            name: _json_or_text(value) if value.startswith("{") else value
            for name, value in parse_qsl(text, keep_blank_values=True)
        }
    else:
        body = _json_or_text(text)
    headers = {name: MASK if is_secret(name) else mask(value, secrets) for name, value in request.headers.items()}
    return {"method": request.method, "url": mask(request.full_url, secrets), "headers": headers, "body": body}


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _to_text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        return base64.b64encode(body).decode()


def _find_secrets(value: object) -> Iterator[str]:
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _find_secrets(getattr(value, name))
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _find_secrets(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _find_secrets(inner)
