"""gunicorn on an app of a test, and requests to it."""

from __future__ import annotations

import http.client
import re
import sys

from tests.support.processes import Child
from tests.support.site import Site


def serve(site: Site, app: str, *arguments: str, **environ: str) -> tuple[Child, int]:
    """Start gunicorn with two workers.

    Args:
        app: The source of the app's module.

    Returns:
        The process and its port.
    """
    (site.directory / "shop.py").write_text(app)
    server = site.processes.start(
        *(sys.executable, "-m", "gunicorn", "shop:app", "--bind", "127.0.0.1:0"),
        *("--chdir", str(site.directory), "--workers", "2", "--graceful-timeout", "10", "--no-control-socket"),
        *arguments,
        **environ,
    )
    server.wait_for_output("Listening at: http://127.0.0.1:")
    found = re.search(r"http://127\.0\.0\.1:(\d+)", server.output)
    assert found is not None
    return server, int(found[1])


def ask(port: int, n: int) -> int | None:
    """Send request ``n``. Returns the process id of the worker that answered; None if it was killed before."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", f"/basket?n={n}")
        response = connection.getresponse()
        return int(response.read()) if response.status == 200 else None
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
