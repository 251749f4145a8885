"""An S3 for tests: moto's server, in a process of its own, with one bucket."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
from pathlib import Path
from typing import Final, Self

from tests.support.ports import free_ports
from tests.support.server import Server
from tests.support.waiting import PATIENCE, wait_for

BUCKET: Final = "events"
#: Any will do: moto checks none.
CREDENTIALS: Final = {"access_key_id": "a-key", "secret_access_key": "a-secret"}


class S3Server(Server):
    """Keeps its objects in memory.

    Args:
        directory: For what it prints.
    """

    def __init__(self, directory: Path) -> None:
        self._output = directory / "s3-server.log"
        self._process: subprocess.Popen[bytes] | None = None
        (self.port,) = free_ports(1)

    @property
    def url(self) -> str:
        """Its endpoint."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> Self:
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)],
                env={**os.environ, "MOTO_DISABLE_GLOBAL_CORS": "true"},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        wait_for(self._has_bucket, what=lambda: f"moto to answer: {self._output.read_text()[-500:]}")
        return self

    def close(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def objects(self) -> dict[str, bytes]:
        """Each object of the bucket by its key."""
        import obstore
        from obstore.store import S3Store

        store = S3Store(
            BUCKET, endpoint=self.url, region="us-east-1", client_options={"allow_http": True}, **CREDENTIALS
        )
        paths = [entry["path"] for entry in obstore.list(store).collect()]
        return {path: bytes(obstore.get(store, path).bytes()) for path in paths}

    def _has_bucket(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request("PUT", f"/{BUCKET}")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()
