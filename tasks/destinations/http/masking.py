"""A request as it may be shown: with every credential masked, wherever in it that stands and however it is written."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, quote, quote_plus

from pydantic import BaseModel, SecretStr

from dispatcher.config.masking import MASK

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dispatcher.tasks.destinations.http.client import Request

# Shorter than this, a mask would tear up what is not meant.
_SHORTEST: Final = 4
# Headers that are a credential, or hold one in a form of their own.
_SECRET_HEADERS: Final = frozenset({"authorization", "proxy-authorization", "cookie", "x-api-key"})


def secrets_of(options: BaseModel) -> frozenset[str]:
    """Every credential that the options hold, at whatever depth."""
    return frozenset(found for found in _secrets(options) if len(found) >= _SHORTEST)


def masked(text: str, secrets: frozenset[str]) -> str:
    """The text without the credentials, as they are or as URLs and JSON spell them."""
    for secret in sorted(secrets, key=len, reverse=True):
        for spelling in {secret, quote(secret, safe=""), quote_plus(secret), json.dumps(secret)[1:-1]}:
            text = text.replace(spelling, MASK)
    return text


def shown(request: Request, secrets: frozenset[str]) -> dict[str, Any]:
    """Method, URL, headers and body of a request, masked; JSON and forms as what is in them. Fit for ``json.dumps``."""
    # As it was before compression, which would hide a credential from the mask as well.
    compressed = request.headers.get("Content-Encoding") == "gzip"
    text = masked(_text(gzip.decompress(request.body) if compressed else request.body), secrets)
    if request.headers.get("Content-Type") == "application/x-www-form-urlencoded":
        body: Any = {
            # A signature of digits is no number.
            name: _json_or_text(value) if value.startswith("{") else value
            for name, value in parse_qsl(text, keep_blank_values=True)
        }
    else:
        body = _json_or_text(text)
    headers = {
        name: MASK if name.lower() in _SECRET_HEADERS else masked(value, secrets)
        for name, value in request.headers.items()
    }
    return {"method": request.method, "url": masked(request.full_url, secrets), "headers": headers, "body": body}


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        return base64.b64encode(body).decode()


def _secrets(value: object) -> Iterator[str]:
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _secrets(getattr(value, name))
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _secrets(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _secrets(inner)
