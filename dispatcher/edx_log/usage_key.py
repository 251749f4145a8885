"""The id that edX's player gave a block in the page, which its logs name video blocks by."""

from __future__ import annotations

import re
from typing import Final

_PART: Final = r"[\w\-~.:]+"
_PINNED: Final = rf"(?:\+branch@{_PART})?(?:\+version@[a-f0-9]+)?"
_BLOCK: Final = rf"(?:\+type@{_PART})?\+block@(?P<block>{_PART})"
_COURSE_BLOCK: Final = re.compile(
    rf"block-v1:{_PART}\+{_PART}\+{_PART}{_PINNED}{_BLOCK}"
    rf"|ccx-block-v1:{_PART}\+{_PART}\+{_PART}{_PINNED}\+ccx@\d+(?:\+type@{_PART})?\+block@(?P<ccx_block>{_PART})"
    rf"|lib-block-v1:{_PART}\+{_PART}(?:\+{_PART})?{_PINNED}\+type@{_PART}\+block@(?P<library_block>{_PART})"
)

# Old-style keys allow percent signs, and do not say the run.
_OLD_COURSE: Final = r"[\w\-.%]+"
_OLD_NAME: Final = r"[\w\-~.:%]+"
_OLD_BLOCK: Final = re.compile(rf"(i4x)://({_OLD_COURSE})/({_OLD_COURSE})/([^/]+)/({_OLD_NAME})(?:@{_OLD_NAME})?")
_NOT_FOR_HTML: Final = re.compile(r"(?:[^\w-]|_)+")

_LIBRARY_BLOCK: Final = re.compile(r"lb:(?a:[\w\-.]+):[\w\-.]+:(?a:[\w\-.]+):[\w\-.]+")


def html_id(usage_key: str) -> str | None:
    """The id that edX puts under ``id`` for a usage key; None where the text is not a usage key."""
    if match := _COURSE_BLOCK.fullmatch(usage_key):
        return match["block"] or match["ccx_block"] or match["library_block"]
    if match := _OLD_BLOCK.fullmatch(usage_key):
        return _NOT_FOR_HTML.sub("_", "-".join(match.groups()))
    return usage_key if _LIBRARY_BLOCK.fullmatch(usage_key) else None
