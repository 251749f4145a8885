"""The APIs at which Segment and Google Analytics take deletions, as far as they document them.

Segment's: https://docs.segmentapis.com/tag/Deletion-and-Suppression. Google's:
https://developers.google.com/analytics/devguides/config/admin/v1/rest/v1alpha/properties/submitUserDeletion.
"""

from __future__ import annotations

import json
from typing import Final

from tests.support.vendor import Call, Reply, Vendor

TOKEN: Final = "hidden-public-api-token"
PROPERTY_ID: Final = "123456"

_TYPES: Final = {
    *("SUPPRESS_WITH_DELETE", "DELETE_ONLY", "SUPPRESS_ONLY", "UNSUPPRESS"),
    *("SUPPRESS_WITH_DELETE_INTERNAL", "DELETE_INTERNAL"),
}
_KINDS: Final = {"userId", "clientId", "appInstanceId", "userProvidedData"}


class SegmentPublicApi(Vendor):
    """Takes regulations; ``taken`` counts them by subject."""

    def answer(self, call: Call) -> Reply:
        if call.method != "POST" or call.path not in {"/regulations", "/regulations/sources/src1"}:
            return Reply(status=404)
        if call.headers.get("authorization") != f"Bearer {TOKEN}":
            return Reply(status=401)
        body = call.value
        ids = body.get("subjectIds", [])
        if body.get("regulationType") not in _TYPES or body.get("subjectType") != "USER_ID" or not 0 < len(ids) <= 5000:
            return Reply(status=422)
        reply = {"data": {"regulateId": f"reg{len(self.calls)}"}}
        return Reply(body=json.dumps(reply).encode(), taken=ids)


class GoogleAdminApi(Vendor):
    """Takes deletions of one property; ``taken`` counts them by kind and id."""

    def answer(self, call: Call) -> Reply:
        if (call.method, call.path) != ("POST", f"/v1alpha/properties/{PROPERTY_ID}:submitUserDeletion"):
            return Reply(status=404)
        if call.headers.get("authorization") != f"Bearer {TOKEN}":
            return Reply(status=401)
        body = call.value
        if len(body) != 1 or not body.keys() <= _KINDS:
            return Reply(status=400)
        ((kind, id_),) = body.items()
        return Reply(body=b'{"deletionRequestTime": "2026-11-29T12:00:00Z"}', taken=[f"{kind}={id_}"])
