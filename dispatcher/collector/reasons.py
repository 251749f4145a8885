"""Reasons: every code for which the collector takes no request, or not one item of it, and what it means.

The tables of docs/reference/collector.md and the answers of its OpenAPI description are made from these.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from dispatcher.outcomes import INVALID, NOT_ENCODABLE, PROCESSOR_FAILED, TOO_LARGE

#: Why a whole request is not taken: the status, 0 where nobody is left to answer, and what it means for a person.
REFUSED: Final[Mapping[str, tuple[int, str]]] = MappingProxyType(
    {
        "not_json": (400, "The body is not JSON."),
        "too_deep": (400, "The body nests so deeply that nobody reads it: a thousand levels and more."),
        "not_an_object": (400, "The body is JSON, but not an object."),
        "no_batch": (400, "The body has no list `batch`."),
        "no_events": (400, "The body has no list `events`."),
        "bad_form": (400, "The form has more than 100 fields."),
        "bad_pixel": (400, "`data` of a pixel is not base64."),
        "damaged_body": (400, "The body cannot be inflated: it is damaged or cut off."),
        "upgrade": (400, "The request asks for another protocol, such as h2c, and its body is in none that is known."),
        "bad_http": (400, "The bytes are not HTTP, or their lengths contradict each other."),
        "unknown_key": (401, "The write key is missing, unknown or revoked."),
        "foreign_origin": (403, "The page is of an origin that the source does not list."),
        "unknown_visitor": (403, "Hand-over: the page does not say who its visitor is."),
        "forged_visitor": (403, "Hand-over: the visitor's reference was not made with this `collector.secret`."),
        "expired_visitor": (
            403,
            "Hand-over: the visitor's reference has ended, as those of a page that stays open do.",
        ),
        "unknown_path": (404, "The path is unknown."),
        "wrong_method": (405, "The path does not take the method."),
        "slow_head": (408, "The head did not come within `collector.header_seconds`."),
        "slow_body": (408, "The body paused for longer than `collector.body_seconds`."),
        TOO_LARGE: (413, "The body is larger than `collector.body_bytes`, or `inflated_bytes` after gzip."),
        "bomb": (413, "The body inflates to more than a hundred times its size."),
        "too_many": (413, "The batch has more events than the source's `batch_events`."),
        "unknown_encoding": (415, "The Content-Encoding is neither gzip nor deflate."),
        "busy": (429, "The process holds `collector.requests` or `request_bytes` already."),
        "rate": (429, "The source sends more than its `per_second`."),
        "handover_waits": (429, "As many pages wait for events as `collector.handover_waits`."),
        "pipelined": (429, "A connection sent hundreds of requests ahead of their answers, and was cut off."),
        "long_head": (431, "The request line and headers are larger than 64 KiB."),
        "failed": (500, "A mistake in the collector; its log names the path."),
        "outbox": (503, "The outbox is full or cannot be written: see the disk, and whether a relay runs."),
        "store": (503, "Hand-over: the Redis of the batch store does not answer in time."),
        "connections": (503, "The process has `collector.connections` already."),
        "client_gone": (0, "The client closed the connection before its body had come."),
        "slow_reader": (0, "The client did not read its answers for `collector.body_seconds`, and was cut off."),
    }
)

#: Why one item of a request is not taken while the others are.
REJECTED: Final[Mapping[str, str]] = MappingProxyType(
    {
        "not_an_object": "The item is not an object.",
        "bad_type": "The path does not take the type.",
        "bad_id": "The id has more than 100 characters, or some that cannot be printed, or is not text.",
        "no_event": "A track call has no name of what happened.",
        "name_not_listed": "The name is not in the source's `names`, or in `collector.mobile_disallowed_names`.",
        "too_deep": "The event nests deeper than `collector.depth`.",
        TOO_LARGE: "The event is larger than the source's `event_bytes`, or `outbox.max_event_bytes`.",
        NOT_ENCODABLE: "A value is NaN, infinite, or a number of more than 300 digits.",
        INVALID: "The name has more than 255 characters or some that cannot be printed, or data is of a wrong type.",
        PROCESSOR_FAILED: "A processor of yours raised something other than `DropEvent`.",
        "type_not_listed": "Mobile: the type is not in `collector.mobile_types`.",
        "library_not_listed": "Mobile: the library is not in `collector.mobile_libraries`.",
        "no_name": "Mobile: the properties have no name.",
        "no_data": "Mobile: data or context of the properties is not an object.",
        "bad_timestamp": "Mobile: timestamp or receivedAt is not a time.",
        "bad_user": "Mobile: userId is not the number of a user.",
    }
)


def codes_of(status: int) -> list[str]:
    """The codes of the answers with a status."""
    return [code for code, (of_code, _) in REFUSED.items() if of_code == status]
