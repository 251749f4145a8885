"""A ClickHouse that keeps rows, drops inserts whose token it has, and says which ids it has when it is asked.

Sources: https://clickhouse.com/docs/interfaces/http and src/Common/ErrorCodes.cpp of the server.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Final

from tests.support.vendor import POISON, Call, Reply, Vendor

# As a client must set them, or repeats and failures go unseen.
_NEEDED: Final = {
    "insert_deduplicate": "1",
    "async_insert": "0",
    "wait_for_async_insert": "1",
    "wait_end_of_query": "1",
}
_QUOTED: Final = re.compile(r"'((?:[^'\\]|\\.)*)'")


def exception(code: int, name: str, status: int = 500) -> Reply:
    """An exception as the server answers it, with a part of a row in its text."""
    text = f"Code: {code}. DB::Exception: It is so: private ada@example.org. ({name}) (version 26.9.2.1)"
    return Reply(status=status, body=text.encode(), headers={"X-ClickHouse-Exception-Code": str(code)})


class ClickHouseVendor(Vendor):
    """``rows`` has how often each id is in the table."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: Counter[str] = Counter()
        self._tokens: set[str] = set()

    def answer(self, call: Call) -> Reply:
        if call.headers.get("x-clickhouse-key") != "hidden-password":
            return exception(516, "AUTHENTICATION_FAILED", 403)
        query = call.query.get("query", "")
        if not query:
            ids = set(_QUOTED.findall(call.text.partition(" IN (")[2]))
            return Reply(body=b"".join(b'{"found":"%s"}\n' % each.encode() for each in ids if self.rows[each]))
        if query != "INSERT INTO site.events FORMAT JSONEachRow" or _NEEDED.items() - call.query.items():
            return exception(62, "SYNTAX_ERROR", 400)
        if POISON in call.text:
            return exception(27, "CANNOT_PARSE_INPUT_ASSERTION_FAILED", 400)
        ids = [json.loads(line)["id"] for line in call.content.splitlines()]
        if (token := call.query["insert_deduplication_token"]) in self._tokens:
            return Reply()
        self._tokens.add(token)
        self.rows.update(ids)
        return Reply(taken=ids)
