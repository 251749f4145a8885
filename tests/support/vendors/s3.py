"""An S3 that keeps one bucket's objects: put, get with a range, list; what is not signed gets 403.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_Amazon_Simple_Storage_Service.html.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from hashlib import md5
from typing import Final
from urllib.parse import unquote
from xml.sax.saxutils import escape

from tests.support.vendor import Call, Reply, Vendor

BUCKET: Final = "events"
_RANGE: Final = re.compile(r"bytes=(\d+)-(\d+)")
_XML: Final = {"Content-Type": "application/xml"}


def error_reply(status: int, code: str) -> Reply:
    """An error as S3 gives it."""
    body = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>It is so.</Message></Error>'
    return Reply(status=status, body=body.encode(), headers=_XML)


class S3Vendor(Vendor):
    """``objects`` has each object by its key. Without the bucket in a path it answers 404, as S3 does."""

    def __init__(self) -> None:
        super().__init__()
        self.objects: dict[str, bytes] = {}
        #: Puts of a key with this in it get 500.
        self.fails_for: str | None = None
        self._times: dict[str, datetime] = {}

    @property
    def puts(self) -> list[Call]:
        """The requests that put an object."""
        return [call for call in self.calls if call.method == "PUT"]

    def answer(self, call: Call) -> Reply:
        if not call.headers.get("authorization", "").startswith("AWS4-HMAC-SHA256 "):
            return error_reply(403, "AccessDenied")
        _, bucket, key = f"{unquote(call.path)}/".split("/", 2)
        if bucket != BUCKET:
            return error_reply(404, "NoSuchBucket")
        key = key.removesuffix("/")
        if call.method == "PUT" and self.fails_for is not None and self.fails_for in key:
            return error_reply(500, "InternalError")
        if call.method == "PUT":
            self.objects[key] = call.body
            self._times[key] = datetime.now(UTC)
            return Reply(headers={"ETag": f'"{_tag(call.body)}"'})
        if "list-type" in call.query:
            return self._list(call.query.get("prefix", ""))
        return self._get(key, call.headers.get("range"))

    def _list(self, prefix: str) -> Reply:
        entries = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(body)}</Size><ETag>{_tag(body)}</ETag>"
            f"<LastModified>{self._times[key].isoformat(timespec='milliseconds').replace('+00:00', 'Z')}</LastModified>"
            "</Contents>"
            for key, body in sorted(self.objects.items())
            if key.startswith(prefix)
        )
        body = f'<?xml version="1.0"?><ListBucketResult><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>'
        return Reply(body=body.encode(), headers=_XML)

    def _get(self, key: str, wanted: str | None) -> Reply:
        if key not in self.objects:
            return error_reply(404, "NoSuchKey")
        body = self.objects[key]
        time = self._times[key].strftime("%a, %d %b %Y %H:%M:%S GMT")
        headers = {"ETag": f'"{_tag(body)}"', "Last-Modified": time}
        if wanted is None or (found := _RANGE.fullmatch(wanted)) is None:
            return Reply(body=body, headers=headers)
        start, last = int(found[1]), min(int(found[2]), len(body) - 1)
        headers["Content-Range"] = f"bytes {start}-{last}/{len(body)}"
        return Reply(status=206, body=body[start : last + 1], headers=headers)


def _tag(body: bytes) -> str:
    return md5(body, usedforsecurity=False).hexdigest()
