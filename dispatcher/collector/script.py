"""Script: serves the files of the browser's client, and the page to which the warnings of logger.js lead."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dispatcher.collector import deprecations
from dispatcher.collector.client import files
from dispatcher.collector.client.files import ServedFile
from dispatcher.collector.route import Accepted, Request
from dispatcher.intake.refused import Refused

if TYPE_CHECKING:
    from dispatcher.collector.sources import Sources
    from dispatcher.config.collector import CollectorSettings

_LOGGER: Final = "logger.js"
_HELP: Final = "logger-help.html"
_HELP_HEADERS: Final = {
    "content-type": "text/html; charset=utf-8",
    "cache-control": "public, max-age=300",
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'",
    "x-content-type-options": "nosniff",
}


class ScriptRoute:
    """Serves a file by the last part of the path.

    Args:
        settings: The name of the script is one of them, and so is what logger.js does.
    """

    methods: Final = frozenset({"GET", "HEAD"})

    def __init__(self, settings: CollectorSettings) -> None:
        self._script_name = settings.script_name
        # In front of the file, so that one setting is heard on all pages. Under the name with its hash it is unchanged.
        shared = json.dumps({"stage": settings.logger_stage, "help": settings.logger_help})
        logger = files.served_files()[_LOGGER]
        body = f"window.dispatcherLogger={shared};\n".encode() + logger.body
        self._logger = replace(logger, body=body, digest=hashlib.sha384(body).hexdigest()[:16])
        self._help = (Path(deprecations.__file__).parent / _HELP).read_bytes()

    def has(self, path: str) -> bool:
        """Whether the path ends in the name of a file that is served."""
        name = path.rpartition("/")[2]
        return name == _HELP or (path.endswith("js") and self._find(name) is not None)

    def __call__(self, request: Request, sources: Sources) -> Accepted | Refused:
        """The file, or 304 where the browser has it; see ``Route``."""
        name = request.path.rpartition("/")[2]
        if name == _HELP:
            return Accepted(None, body=self._help, headers=_HELP_HEADERS)
        found = self._find(name)
        if found is None:
            return Refused(404, "unknown_path", "the path is unknown; see the documentation of the collector")
        file, is_versioned = found
        headers = file.headers(versioned=is_versioned)
        # The app says for whom and how long it is.
        headers = {name: value for name, value in headers.items() if name != "content-length"}
        if request.headers.get("if-none-match") == headers["etag"]:
            return Accepted(None, status=304, body=b"", headers=headers)
        return Accepted(None, body=file.body, headers=headers)

    def _find(self, name: str) -> tuple[ServedFile, bool] | None:
        """The file of this name, and whether it is named by its hash."""
        return (self._logger, False) if name == _LOGGER else files.find(name, self._script_name)
