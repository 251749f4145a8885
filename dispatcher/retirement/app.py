"""App: takes ``POST /retire/<token>/`` with ``{"edx_lms_user_id": 42}``, as edX's pipeline sends it.

The pipeline sends the LMS's own token, which says nothing here: what proves who asks is the path. It takes any 2xx for
done and tries 5xx again for ten minutes, so an answer says what is true at that moment: 200 forgotten, 202 asked for
and on the disk. Source: scripts/user_retirement/utils/edx_api.py of edx-platform, ``GenericRetirementApi``.
"""

from __future__ import annotations

import hmac
import json
import logging
from typing import TYPE_CHECKING, Any, Final

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse
from starlette.routing import Route

from dispatcher.errors import DispatcherError
from dispatcher.forgetting.requests import Requests

if TYPE_CHECKING:
    from starlette.requests import Request as HttpRequest

    from dispatcher.config import Settings
    from dispatcher.forgetting.requests import Request

logger = logging.getLogger(__name__)

# Bytes of a body. The pipeline sends some thirty.
_MAX_BODY_BYTES: Final = 4_096
# Seconds after which a pipeline that waits may ask again.
_RETRY_AFTER: Final = {"Retry-After": "60"}
# The largest id that Django's tables have.
_MAX_ID: Final = 2**63 - 1


def make_app(settings: Settings) -> Starlette:
    """The ASGI app. ``settings.retirement.token`` is set."""
    endpoint = _Endpoint(settings)
    # The pipeline puts a slash at the end of every path.
    routes = [Route(path, endpoint.answer, methods=["POST"]) for path in ("/retire/{token}/", "/retire/{token}")]
    return Starlette(routes=[*routes, Route("/healthz", _say_healthy)])


async def _say_healthy(_request: HttpRequest) -> JSONResponse:
    return JSONResponse({"status": "ok"})


class _Endpoint:
    def __init__(self, settings: Settings) -> None:
        token = settings.retirement.token
        assert token is not None
        self._token = token.get_secret_value().encode()
        self._waits = settings.retirement.waits
        self._requests = Requests(settings)

    async def answer(self, http: HttpRequest) -> JSONResponse:
        """Put a person on the list of requests, or say what became of the one before."""
        if not hmac.compare_digest(http.path_params["token"].encode(), self._token):
            return JSONResponse({"error": "the path is unknown"}, 404)
        user_id = _user_id(await _read(http))
        if user_id is None:
            return JSONResponse({"error": 'the body must be {"edx_lms_user_id": 42}, a whole number above 0'}, 400)
        try:
            request = await run_in_threadpool(self._requests.add, user_id)
        except (OSError, DispatcherError) as error:
            # Not the id, which the log would keep.
            logger.error("a request to forget somebody cannot be kept, and is answered 503: %s", error)
            return JSONResponse({"error": "the request cannot be kept: see this service's log"}, 503, _RETRY_AFTER)
        return self._describe(request)

    def _describe(self, request: Request) -> JSONResponse:
        if request.is_done:
            return JSONResponse({"state": "forgotten", "at": request.done_at, "receipt": request.receipt})
        body = {"state": "requested", "at": request.at}
        return JSONResponse(body, 503, _RETRY_AFTER) if self._waits else JSONResponse(body, 202)


async def _read(http: HttpRequest) -> bytes:
    body = b""
    async for part in http.stream():
        body += part
        if len(body) > _MAX_BODY_BYTES:
            return b""
    return body


def _user_id(body: bytes) -> str | None:
    try:
        given: Any = json.loads(body)
    except (ValueError, RecursionError):
        return None
    value = given.get("edx_lms_user_id") if isinstance(given, dict) else None
    return str(value) if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _MAX_ID else None
