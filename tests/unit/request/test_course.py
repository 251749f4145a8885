"""The course of an event is found by its key or by the address of its page."""

from __future__ import annotations

import pytest

from dispatcher.request.course import course_fields


@pytest.mark.parametrize(
    ("page", "key", "wanted"),
    [
        ("https://x/courses/course-v1:Org+C1+R1/courseware/", None, ("course-v1:Org+C1+R1", "Org")),
        ("https://x/courses/course-v1:Org+C1+R1", None, ("course-v1:Org+C1+R1", "Org")),
        ("https://x/courses/course-v1%3AOrg%2BC1%2BR1?a=b", None, ("course-v1:Org+C1+R1", "Org")),
        ("https://apps.x/learning/course/course-v1:Org+C1+R1/home#top", None, ("course-v1:Org+C1+R1", "Org")),
        ("https://x/courses/edX/DemoX/Demo_Course/info", None, ("edX/DemoX/Demo_Course", "edX")),
        ("https://x/courses/ccx-v1:Org+C1+R1+ccx@3/", None, ("ccx-v1:Org+C1+R1+ccx@3", "Org")),
        ("https://x/courses/course-v1:Org+C1+R1/", "edX/999/test", ("edX/999/test", "edX")),
        ("https://x/", "course-v1:Org C1 R1", ("course-v1:Org+C1+R1", "Org")),
        ("https://x/courses/course-v1:Org+C1+R1/", "no key", ("course-v1:Org+C1+R1", "Org")),
        ("https://x/courses", None, None),
        ("https://x/courses/one/two", None, None),
        (None, None, None),
        (5, ["a"], None),
        ("/courses/" + "a/" * 100_000, "+" * 100_000, ("a/a/a", "a")),
    ],
)
def test_course_and_organisation_are_found(page: object, key: object, wanted: tuple[str, str] | None) -> None:
    assert course_fields(page, key) == ({} if wanted is None else {"course_id": wanted[0], "org_id": wanted[1]})
