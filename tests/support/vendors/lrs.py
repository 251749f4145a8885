"""An LRS that keeps the rules of xAPI 1.0.3 for POST /statements, and a Caliper endpoint, with the Basic user "lrs".

Nothing of a request is kept if one statement is invalid (400), occurs twice (400), or has the id of another that is
there with other contents (409). The same statement again is taken, and kept once.
"""

from __future__ import annotations

import base64
import json
from typing import Any, Final
from uuid import UUID

from tests.support.vendor import POISON, Call, Reply, Vendor

USERNAME: Final = "lrs"
PASSWORD: Final = "hidden-password"
_AUTHORIZATION: Final = f"Basic {base64.b64encode(f'{USERNAME}:{PASSWORD}'.encode()).decode()}"
_REQUIRED: Final = {"actor", "verb", "object"}


class LrsVendor(Vendor):
    """``taken`` counts statements by their ids, each time that they come; ``statements`` has each once."""

    def __init__(self) -> None:
        super().__init__()
        self.statements: dict[str, Any] = {}
        #: Whether it takes what is right in a request that has something wrong, as Ralph may.
        self.in_part = False

    def answer(self, call: Call) -> Reply:
        if call.headers.get("authorization") != _AUTHORIZATION or call.path != "/xAPI/statements":
            return Reply(status=401)
        given = call.value
        if call.headers.get("x-experience-api-version") != "1.0.3" or not isinstance(given, list) or not given:
            return Reply(status=400)
        if self.in_part:
            return self._take_in_part(given)
        ids = [each.get("id") for each in given]
        if POISON in call.text or len(set(ids)) < len(ids) or not all(map(_is_statement, given)):
            return Reply(status=400)
        with self._lock:
            if any(self.statements.get(each["id"], each) != each for each in given):
                return Reply(status=409)
            self.statements |= {each["id"]: each for each in given}
        return Reply(status=200, taken=ids)

    def _take_in_part(self, given: list[Any]) -> Reply:
        good = {each["id"]: each for each in given if POISON not in str(each)}
        with self._lock:
            new = {id_: each for id_, each in good.items() if id_ not in self.statements}
            self.statements |= new
        errors = [{"index": 0, "reason": "invalid"}] * (len(given) - len(good))
        body = json.dumps({"inserted": len(new), "inserted_ids": list(new), "errors": errors}).encode()
        return Reply(status=200 if new else 400, body=body, taken=new)


class CaliperVendor(Vendor):
    """Takes envelopes of Caliper 1.2; ``taken`` counts events by their ids."""

    def answer(self, call: Call) -> Reply:
        if call.headers.get("authorization") != "Bearer hidden-token":
            return Reply(status=401)
        envelope = call.value
        if POISON in call.text or not isinstance(envelope, dict):
            return Reply(status=400)
        if set(envelope) != {"sensor", "sendTime", "dataVersion", "data"} or not envelope["data"]:
            return Reply(status=400)
        return Reply(status=200, taken=[each["id"] for each in envelope["data"]])


def _is_statement(given: Any) -> bool:
    return isinstance(given, dict) and set(given) >= _REQUIRED and str(UUID(given["id"])) == given["id"]
