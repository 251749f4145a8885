"""Refused: a request of which nothing was taken, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Refused:
    """A request of which nothing was taken.

    Attributes:
        status: 4xx only for what will never be taken; what may pass is 429 or 503.
        code: A reason such as ``unknown_key``: a counter of that name grows.
        message: What is wrong and what to do, without any value of the request.
        headers: Of the answer, in lower case.
    """

    status: int
    code: str
    message: str
    headers: Mapping[str, str] = field(default_factory=dict)
