"""CourseKey: the key of a course in edX's spellings, and where it stands in an address. Pure.

The spellings are those of Open edX: ``course-v1:ORG+COURSE+RUN``, ``ccx-v1:…+ccx@N``, ``library-v1:ORG+LIBRARY``, and
``ORG/COURSE/RUN`` as it was before 2014.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_NEW: Final = re.compile(
    r"(?:course-v1:(?P<org>[\w\-~.:]+)\+[\w\-~.:]+\+[\w\-~.:]+"
    r"|ccx-v1:(?P<ccx_org>[\w\-~.:]+)\+[\w\-~.:]+\+[\w\-~.:]+\+ccx@\d+"
    r"|library-v1:(?P<library_org>[\w\-~.:]+)\+[\w\-~.:]+)"
    r"(?:\+branch@[\w\-~.:]+)?(?:\+version@[0-9a-f]{24})?"
)
_OLD: Final = re.compile(r"(?P<org>[\w\-~.:%]+)/[\w\-~.:%]+/[\w\-~.:%]+")
# The key of a block has its course's in front.
_OF_BLOCK: Final = re.compile(r"(?P<kind>ccx-block|block)-v1:(?P<course>.+?)(?=\+type@)")
_COURSE_OF: Final = {"block": "course", "ccx-block": "ccx"}
_IN_XBLOCK: Final = re.compile(r"/xblock/(?P<block>[^/+]+[/+][^/+]+[/+][^/?#]+)")
_IN_COURSES: Final = re.compile(r"/courses/(?!v[0-9]+/[^/+])(?P<key>[^/+]+[/+][^/+]+[/+][^/?]+)")
_UNSAFE: Final = re.compile(r"[^\w.\-]")


@dataclass(frozen=True, slots=True)
class CourseKey:
    """A key that was understood.

    Args:
        text: The key as it was written.
        org: The organisation's part of it.
        is_old: Whether it is of the spelling with slashes.
    """

    text: str
    org: str
    is_old: bool

    @property
    def file_name(self) -> str:
        """As it stands in names of files: without ``course-v1:``, so that two keys may have the same."""
        return _UNSAFE.sub("_", self.text if self.is_old else self.text.partition(":")[2])

    @property
    def own_file_name(self) -> str:
        """As it stands in names of files where no other key may have the same."""
        return _UNSAFE.sub("_", self.text)


def parse_course_key(text: str) -> CourseKey | None:
    """The key that a text is; None otherwise."""
    if (found := _NEW.fullmatch(text)) is not None:
        return CourseKey(text, found["org"] or found["ccx_org"] or found["library_org"], is_old=False)
    if (found := _OLD.fullmatch(text)) is not None:
        return CourseKey(text, found["org"], is_old=True)
    return None


def find_course_key(address: str) -> CourseKey | None:
    """The key of the course in an address: behind ``/xblock/``, else behind ``/courses/``. None where it has none."""
    if (found := _IN_XBLOCK.search(address)) is not None:
        block = _OF_BLOCK.match(found["block"])
        # A block that is not understood ends the search.
        return None if block is None else parse_course_key(f"{_COURSE_OF[block['kind']]}-v1:{block['course']}")
    if (found := _IN_COURSES.search(address)) is not None:
        return parse_course_key(found["key"])
    return None
