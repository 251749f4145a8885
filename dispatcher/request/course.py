"""Course: in which course of Open edX something happened, by its key or by the address of its page."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

#: A key of a course run, of which the first part behind the colon is the organisation: ``course-v1:org+course+run``,
#: ``ccx-v1:org+course+run+ccx@1``, or ``org/course/run`` as they were before 2014.
_KEY: Final = re.compile(
    r"(?:course|ccx)-v1:(?P<org>[\w\-~.]+)\+[\w\-~.]+\+[\w\-~.]+(?:\+ccx@\d+)?|(?P<old>[\w\-~.]+)/[\w\-~.]+/[\w\-~.]+"
)
#: The key in the address of a page: behind /courses/ of the platform, behind /course/ of its micro-frontends.
_IN_PAGE: Final = re.compile(rf"/courses?/(?P<key>{_KEY.pattern})(?=[/?#]|$)")
_PAGE_CHARACTERS: Final = 2_000
# Whose courses are remembered.
_PAGES: Final = 1_000
_NO_COURSE: Final[dict[str, str]] = {}


def course_fields(page: object, key: object = None) -> dict[str, str]:
    """``course_id`` and ``org_id`` of a context.

    Args:
        page: The URL of the page.
        key: The key of the course, where the client said one; it counts before the page.

    Returns:
        Both; empty where neither says a course. Others may have the same dict, which nobody changes.
    """
    if isinstance(key, str):
        # In a form the plus of a key that was not escaped arrives as a blank.
        found = _KEY.fullmatch(key.strip().replace(" ", "+"))
        if found is not None:
            return {"course_id": found[0], "org_id": found["org"] or found["old"]}
    if isinstance(page, str):
        start = page.find("/course", 0, _PAGE_CHARACTERS)
        if start >= 0:
            return _fields_of_path(page[start:_PAGE_CHARACTERS])
    return _NO_COURSE


# Learners of one course are on the same pages.
@lru_cache(_PAGES)
def _fields_of_path(path: str) -> dict[str, str]:
    found = _IN_PAGE.search(path.replace("%3A", ":").replace("%2B", "+") if "%" in path else path)
    return _NO_COURSE if found is None else {"course_id": found["key"], "org_id": found["org"] or found["old"]}
