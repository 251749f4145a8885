"""The files of the browser's client as the collector serves them: by name, by hash, and as the lines of a page."""

from __future__ import annotations

import html
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Final

_DIST: Final = Path(__file__).parent / "dist"
#: A year, as long as HTTP allows to promise (RFC 9111 has no limit; RFC 2616 asked for at most a year).
_IMMUTABLE: Final = "public, max-age=31536000, immutable"
# Short: a page that names the plain file gets a new version within five minutes.
_CHANGING: Final = "public, max-age=300"


@dataclass(frozen=True, slots=True)
class ServedFile:
    """One file of the client, read into memory.

    Attributes:
        name: its name in dist/, such as ``tracker.js``
        body: its bytes
        digest: 16 hexadecimal digits of its SHA-384, which names this very version
        integrity: for the attribute ``integrity`` of a script element (Subresource Integrity)
    """

    name: str
    body: bytes
    digest: str
    integrity: str

    def headers(self, *, versioned: bool) -> dict[str, str]:
        """The headers of an answer with this file, in lower case.

        Args:
            versioned: whether it was asked for by the name with its hash in it
        """
        return {
            "content-type": "text/javascript; charset=utf-8",
            "content-length": str(len(self.body)),
            "cache-control": _IMMUTABLE if versioned else _CHANGING,
            "etag": f'"{self.digest}"',
            # Pages of other origins check its integrity, for which the browser has to be allowed to read it.
            "access-control-allow-origin": "*",
            "cross-origin-resource-policy": "cross-origin",
            "timing-allow-origin": "*",
            "x-content-type-options": "nosniff",
        }


@cache
def served_files() -> dict[str, ServedFile]:
    """The files by name: ``tracker.js``, ``tracker.mjs``, ``logger.js``, ``handover.js``, ``mfe.mjs`` and ``stub.js``.

    Reads dist/ the first time. Raises FileNotFoundError where the package was installed without it.
    """
    manifest = json.loads((_DIST / "manifest.json").read_bytes())
    return {
        name: ServedFile(name, (_DIST / name).read_bytes(), entry["hash"], entry["integrity"])
        for name, entry in manifest.items()
    }


def find(file_name: str, script_name: str = "tracker.js") -> tuple[ServedFile, bool] | None:
    """The file that a request's last part of the path names, and whether by its hash; None for any other name.

    Args:
        file_name: such as ``tracker.js`` or ``tracker.0123456789abcdef.js``
        script_name: the name under which ``tracker.js`` is served: block lists have that one in some places
    """
    for file in served_files().values():
        plain = script_name if file.name == "tracker.js" else file.name
        path = PurePosixPath(plain)
        if file_name == plain:
            return file, False
        if file_name == f"{path.stem}.{file.digest}{path.suffix}":
            return file, True
    return None


def snippet(
    key: str,
    *,
    base: str = "",
    script_name: str = "tracker.js",
    events_path: str = "/v1/events",
    logger: bool = False,
    handover: bool = False,
) -> str:
    """The lines for a page's head: the stub, and the script with its integrity. Ends with a line break.

    Args:
        key: the write key of the source
        base: the collector's address without a slash at its end; empty where the page has the same origin
        script_name: as in the settings
        events_path: as in the settings
        logger: whether logger.js comes behind, by its plain name: the collector writes into it how far it is deprecated
        handover: whether handover.js comes behind, which takes what only a page can hand to a vendor's script
    """
    files = served_files()
    script, path = files["tracker.js"], PurePosixPath(script_name)
    url = base + events_path
    # In a script element, JSON text must not end the element. JSON's own escapes do not touch "<".
    quoted_url, quoted_key = (json.dumps(text).replace("<", "\\u003c") for text in (url, key))
    stub = files["stub.js"].body.decode().replace('"URL"', quoted_url, 1).replace('"KEY"', quoted_key, 1)
    source = f"{base}/{path.stem}.{script.digest}{path.suffix}"
    return (
        f"<script>{stub}</script>\n"
        f'<script async src="{html.escape(source)}" integrity="{script.integrity}" crossorigin="anonymous"\n'
        f'        data-key="{html.escape(key)}" data-url="{html.escape(url)}"></script>\n'
        + (f'<script src="{html.escape(base)}/logger.js"></script>\n' if logger else "")
        + (_tag(base, files["handover.js"]) if handover else "")
    )


def _tag(base: str, file: ServedFile) -> str:
    path = PurePosixPath(file.name)
    source = html.escape(f"{base}/{path.stem}.{file.digest}{path.suffix}")
    return f'<script async src="{source}" integrity="{file.integrity}" crossorigin="anonymous"></script>\n'
