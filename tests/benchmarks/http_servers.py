"""HTTP servers: the peers of the collector, which read a body, answer, and keep nothing.

``python -m tests.benchmarks.http_servers bare_uvicorn PORT`` serves one until it is killed.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

_ANSWER: Final = b'{"success":true}'


async def bare_uvicorn(
    scope: Mapping[str, Any],
    receive: Callable[[], Awaitable[Mapping[str, Any]]],
    send: Callable[[Mapping[str, Any]], Awaitable[None]],
) -> None:
    """Raw ASGI: reads the whole body, looks at nothing in it, and answers JSON of a known length."""
    more = scope["type"] == "http"
    while more:
        more = (await receive()).get("more_body", False)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(_ANSWER))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": _ANSWER})


def starlette() -> Any:
    """Starlette with one route, which decodes the JSON of the body."""
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    async def take(request: Request) -> JSONResponse:
        body = await request.json()
        return JSONResponse({"success": True, "accepted": len(body["events"])})

    return Starlette(routes=[Route("/v1/events", take, methods=["POST"])])


if __name__ == "__main__":
    import uvicorn

    uvicorn.run(
        bare_uvicorn if sys.argv[1] == "bare_uvicorn" else starlette(),
        port=int(sys.argv[2]),
        # As lean as the collector sets it, which is in favour of the peers.
        loop="uvloop",
        http="httptools",
        lifespan="off",
        ws="none",
        access_log=False,
        log_level="warning",
        server_header=False,
        date_header=False,
        proxy_headers=False,
    )
