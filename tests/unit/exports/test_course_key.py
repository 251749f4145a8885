"""The key of a course in edX's spellings, in a text and in an address."""

from __future__ import annotations

import pytest

from dispatcher.exports.research_package.course_key import find_course_key, parse_course_key


@pytest.mark.parametrize(
    ("text", "org", "file_name", "own_name"),
    [
        ("course-v1:Foo+Bar+Baz", "Foo", "Foo_Bar_Baz", "course-v1_Foo_Bar_Baz"),
        ("ccx-v1:Foo+Bar+Baz+ccx@7", "Foo", "Foo_Bar_Baz_ccx_7", "ccx-v1_Foo_Bar_Baz_ccx_7"),
        ("library-v1:Foo+Shelf", "Foo", "Foo_Shelf", "library-v1_Foo_Shelf"),
        ("Foo/Bar/Baz", "Foo", "Foo_Bar_Baz", "Foo_Bar_Baz"),
        ("course-v1:Fö-o~1+B.ar+B:az", "Fö-o~1", "Fö-o_1_B.ar_B_az", "course-v1_Fö-o_1_B.ar_B_az"),
    ],
)
def test_a_key_says_its_organisation_and_its_name(text: str, org: str, file_name: str, own_name: str) -> None:
    key = parse_course_key(text)

    assert key is not None
    assert (key.org, key.file_name, key.own_file_name) == (org, file_name, own_name)


@pytest.mark.parametrize(
    "text", ["", "Foo", "Foo/Bar", "a/b/c/d", "course-v1:Foo+Bar", "course-v1:F o+B+Z", "block-v1:a+b+c"]
)
def test_other_texts_are_none(text: str) -> None:
    assert parse_course_key(text) is None


@pytest.mark.parametrize(
    ("address", "wanted"),
    [
        ("http://c/courses/course-v1:Foo+Bar+Baz/courseware/x", "course-v1:Foo+Bar+Baz"),
        ("http://c/courses/course-v1:Foo+Bar+Baz?a=b", "course-v1:Foo+Bar+Baz"),
        ("/some/garbage/courses/Foo/Bar/Baz", "Foo/Bar/Baz"),
        ("http://c//courses/Foo/Bar/Baz/", "Foo/Bar/Baz"),
        ("http://c/courses/Foo/Bar", None),
        ("http://c/api/courses/v1/blocks/x/y/z", None),
        ("/courses/v2/x/courses/Foo/Bar/Baz", "Foo/Bar/Baz"),
        ("https://c/xblock/block-v1:Foo+Bar+Baz+type@vertical+block@38?x=0", "course-v1:Foo+Bar+Baz"),
        ("https://c/xblock/ccx-block-v1:Foo+Bar+Baz+ccx@7+type@vertical+block@38", "ccx-v1:Foo+Bar+Baz+ccx@7"),
        ("https://c/xblock/a+b+c/courses/Foo/Bar/Baz", None),
        ("https://c/learning/course/course-v1:Foo+Bar+Baz", None),
    ],
)
def test_a_key_is_found_in_an_address(address: str, wanted: str | None) -> None:
    key = find_course_key(address)

    assert (key.text if key else None) == wanted
