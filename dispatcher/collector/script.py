"""Script: serves the files of the browser's client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dispatcher.collector.client import files
from dispatcher.collector.route import Accepted, Refused, Request

if TYPE_CHECKING:
    from dispatcher.collector.sources import Sources
    from dispatcher.config.collector import CollectorSettings


class ScriptRoute:
    """Serves a file by the last part of the path.

    Args:
        settings: The name of the script is one of them.
    """

    methods: Final = frozenset({"GET", "HEAD"})

    def __init__(self, settings: CollectorSettings) -> None:
        self._script_name = settings.script_name

    def has(self, path: str) -> bool:
        """Whether the path ends in the name of a file that is served."""
        return path.endswith("js") and files.find(path.rpartition("/")[2], self._script_name) is not None

    def __call__(self, request: Request, sources: Sources) -> Accepted | Refused:
        """The file, or 304 where the browser has it; see ``Route``."""
        found = files.find(request.path.rpartition("/")[2], self._script_name)
        if found is None:
            return Refused(404, "unknown_path", "the path is unknown; see the documentation of the collector")
        file, is_versioned = found
        headers = file.headers(versioned=is_versioned)
        # The app says for whom and how long it is.
        headers = {name: value for name, value in headers.items() if name != "content-length"}
        if request.headers.get("if-none-match") == headers["etag"]:
            return Accepted(None, status=304, body=b"", headers=headers)
        return Accepted(None, body=file.body, headers=headers)
