"""A Segment that enforces its documented limits. A request with "poison" gets 400, and none of it is taken.

https://segment.com/docs/connections/sources/catalog/libraries/server/http-api/
"""

from __future__ import annotations

from base64 import b64encode
from typing import Final

from tests.support.vendor import POISON, Call, Reply, Vendor

WRITE_KEY: Final = "hidden-write-key"

_MOST_MESSAGES: Final = 2500
_MOST_BYTES: Final = 500_000


class SegmentVendor(Vendor):
    """Takes the batch endpoint's requests of one source; ``taken`` counts messages by messageId."""

    def answer(self, call: Call) -> Reply:
        basic = f"Basic {b64encode(f'{WRITE_KEY}:'.encode()).decode()}"
        if call.path != "/v1/batch" or call.headers.get("authorization") != basic:
            return Reply(status=401)
        messages = call.value["batch"]
        if POISON in call.text or len(call.content) > _MOST_BYTES or len(messages) > _MOST_MESSAGES:
            return Reply(status=400)
        return Reply(body=b'{"success": true}', taken=[message["messageId"] for message in messages])
