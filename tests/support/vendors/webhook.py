"""A receiver of webhooks that checks their signatures. A request with "poison" gets 400.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Final

from tests.support.vendor import POISON, Call, Reply, Vendor

SECRET: Final = "whsec_aGlkZGVuLWhpZGRlbi1oaWRkZW4taGlkZGVuIQ=="


class WebhookVendor(Vendor):
    """Takes arrays of events; ``taken`` counts them by their ids."""

    def answer(self, call: Call) -> Reply:
        signed = f"{call.headers['webhook-id']}.{call.headers['webhook-timestamp']}.".encode() + call.content
        digest = hmac.digest(base64.b64decode(SECRET.removeprefix("whsec_")), signed, hashlib.sha256)
        if f"v1,{base64.b64encode(digest).decode()}" not in call.headers["webhook-signature"].split():
            return Reply(status=401)
        if POISON in call.text:
            return Reply(status=400)
        return Reply(taken=[event["id"] for event in call.value])
