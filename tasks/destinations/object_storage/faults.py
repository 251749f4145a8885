"""Faults: what it means for events that a bucket, or a directory, did not take an object. Pure.

Codes are those of S3 (https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html), of Azure
(https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes) and HTTP statuses elsewhere.
"""

from __future__ import annotations

import re
from http.client import responses
from typing import Final

from dispatcher.outcomes import RetryAfter, RetryClass

_STATUS: Final = re.compile(r"non-2xx status code: (\d{3})")
_CODE: Final = re.compile(r"<Code>([A-Za-z]{1,60})</Code>")
_SYSTEM_ERROR: Final = re.compile(r"\(os error (\d{1,4})\)")
# Where instances and containers of AWS, and machines of other clouds, ask for their credentials.
_METADATA_HOSTS: Final = ("169.254.169.254", "169.254.170.2", "metadata.google.internal")
_NO_CREDENTIALS: Final = (
    "has no credentials, and the machine has none for it: set credentials, or the variables of its provider, such as "
    "AWS_ACCESS_KEY_ID"
)

# "Please reduce your request rate", in S3, in Azure, and where a server says nothing but a status.
_THROTTLING: Final = frozenset({"SlowDown", "ServerBusy", "TooManyRequests", "RequestLimitExceeded", "Throttling"})
# Refusals that end without anybody's doing.
_TRANSIENT: Final = frozenset({"RequestTimeout", "OperationAborted", "InternalError", "OperationTimedOut", "BadDigest"})
_TRANSIENT_STATUSES: Final = frozenset({408, 409, 412, 425})
_EXPIRED: Final = frozenset({"ExpiredToken", "TokenRefreshRequired", "InvalidToken", "ExpiredTokenException"})

# What obstore says of a request that got no answer that it takes, and what that means.
_OURS_TO_MEND: Final = {
    **dict.fromkeys(_METADATA_HOSTS, _NO_CREDENTIALS),
    "redirect": "redirects, as one of another region does: set its region or endpoint",
    "dns error": "cannot be found: DNS does not know the host, or does not answer",
}

# Of the system, by Linux' errno(3).
_NO_SPACE: Final = frozenset({28, 122})
_DENIED: Final = frozenset({1, 13, 20, 30})


def outcome_of_fault(error: Exception, *, label: str, seconds: float) -> RetryAfter:
    """The outcome of all events of an object that was not written. Nothing of the error's own text is repeated.

    Args:
        error: What obstore raised.
        label: What the error calls the destination.
        seconds: How long a request may take.
    """
    text = str(error)
    if (found := _STATUS.search(text)) is not None:
        code = _CODE.search(text)
        return _outcome_of_answer(int(found[1]), "" if code is None else code[1], label)
    if (found := _SYSTEM_ERROR.search(text)) is not None and "http" not in text.lower():
        return _outcome_of_system(int(found[1]), label)
    if "redirect" in text:
        return RetryAfter(
            f"{label} redirects, as one of another region does: set its region or endpoint", None, "setup"
        )
    if "dns error" in text:
        return RetryAfter(f"{label} cannot be found: DNS does not know the host, or does not answer", None, "setup")
    if "error sending request" in text or "timed out" in text:
        return RetryAfter(f"{label} cannot be reached, hung up, or gave no answer within {seconds:g} s")
    return RetryAfter(f"{label} did not take an object: {type(error).__name__}")


def _outcome_of_answer(status: int, code: str, label: str) -> RetryAfter:
    said = f"{status} {code or responses.get(status, '')}".rstrip()
    error = f"{label} answered {said}"
    if code in _EXPIRED:
        return RetryAfter(f"{error}: its credentials have ended, give it new ones", None, "setup")
    retry_class: RetryClass = "setup"
    if code in _THROTTLING or status in {429, 503}:
        retry_class = "throttled"
    elif status >= 500 or status in _TRANSIENT_STATUSES or code in _TRANSIENT:
        retry_class = "transient"
    # A name, a region or a right is wrong, whatever the events are.
    return RetryAfter(error, None, retry_class)


def _outcome_of_system(number: int, label: str) -> RetryAfter:
    if number in _NO_SPACE:
        return RetryAfter(f"{label} has no space left")
    if number in _DENIED:
        return RetryAfter(f"{label} cannot be written to by this user: change its owner or its rights", None, "setup")
    return RetryAfter(f"{label} did not take a file: error {number} of the system")
