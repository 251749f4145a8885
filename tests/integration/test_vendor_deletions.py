"""Segment and Google are asked to delete a person, once; what they refuse is left, with the way out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from dispatcher.config import Settings
from dispatcher.destinations.build import build
from dispatcher.forgetting import Deletion, Found, Person, Place
from tests.support.vendor import CUT, Reply
from tests.support.vendors.deletions import PROPERTY_ID, TOKEN, GoogleAdminApi, SegmentPublicApi

GRACE = Person(
    user_ids=("42",), usernames=("grace", "grace_old"), emails=("grace@example.org",), anonymous_ids=("1234.5678",)
)


@pytest.fixture
def segment() -> Iterator[SegmentPublicApi]:
    with SegmentPublicApi() as api:
        yield api


@pytest.fixture
def google() -> Iterator[GoogleAdminApi]:
    with GoogleAdminApi() as api:
        yield api


def places(tmp_path: Path, name: str = "segment", **table: Any) -> Sequence[Place]:
    settings = Settings.model_validate({"destinations": {name: table}})
    destination = build(name, settings.destinations[name])
    destination.state_directory = tmp_path
    return destination.places()


def segment_place(tmp_path: Path, api: SegmentPublicApi, **table: Any) -> Place:
    (place,) = places(tmp_path, write_key="k", public_api=api.url, **{"public_api_token": TOKEN, **table})
    return place


def google_place(tmp_path: Path, api: GoogleAdminApi, **table: Any) -> Place:
    given = {"property_id": PROPERTY_ID, "admin_token": TOKEN, "admin_api": api.url, **table}
    (place,) = places(tmp_path, "google_analytics", **given)
    return place


def look(place: Place, person: Person = GRACE) -> list[Found]:
    return list(place.look(person, lambda _what, _done, _of: None))


def forget(place: Place, person: Person = GRACE) -> list[Found]:
    return list(place.forget(person, Deletion(), lambda _what, _done, _of: None))


def test_a_destination_without_credentials_for_it_has_no_such_place(tmp_path: Path) -> None:
    assert places(tmp_path, write_key="k") == ()
    assert places(tmp_path, "google_analytics", property_id=PROPERTY_ID) == ()


def test_segment_is_asked_once_for_all_names(tmp_path: Path, segment: SegmentPublicApi) -> None:
    place = segment_place(tmp_path, segment)
    assert [found.events for found in look(place)] == [1]
    assert not segment.calls

    (found,) = forget(place)
    assert (found.events, found.left) == (1, "")
    assert "request reg1" in found.where
    assert segment.taken == {"42": 1, "grace": 1, "grace_old": 1}
    assert segment.calls[0].value["regulationType"] == "SUPPRESS_WITH_DELETE"

    again = segment_place(tmp_path, segment)
    assert [found.events for found in look(again)] == [0]
    assert forget(again) == []
    assert len(segment.calls) == 1
    assert forget(again, Person(user_ids=("42", "43")))[0].events == 1
    assert segment.taken["43"] == segment.taken["42"] == 1


def test_the_record_names_nobody_and_is_the_owners_alone(tmp_path: Path, segment: SegmentPublicApi) -> None:
    forget(segment_place(tmp_path, segment))

    record = tmp_path / "forgetting" / "deletions.json"
    assert record.stat().st_mode & 0o777 == 0o600
    assert "reg1" in record.read_text()
    assert [name for name in ('"42"', "grace", "example.org", TOKEN) if name in record.read_text()] == []


def test_two_destinations_are_asked_each(tmp_path: Path, segment: SegmentPublicApi) -> None:
    for name in ("segment", "second"):
        table = {"type": "segment", "write_key": "k", "public_api": segment.url, "public_api_token": TOKEN}
        (place,) = places(tmp_path, name, **table)
        assert len(forget(place)) == 1
    assert segment.taken["42"] == 2


def test_one_source_can_be_named(tmp_path: Path, segment: SegmentPublicApi) -> None:
    forget(segment_place(tmp_path, segment, source_id="src1", regulation="DELETE_ONLY"))

    assert segment.calls[0].path == "/regulations/sources/src1"
    assert segment.calls[0].value["regulationType"] == "DELETE_ONLY"


def test_more_users_than_a_regulation_takes_are_several(tmp_path: Path, segment: SegmentPublicApi) -> None:
    many = Person(user_ids=tuple(str(number) for number in range(5001)))
    place = segment_place(tmp_path, segment)

    assert [found.events for found in look(place, many)] == [2]
    assert len(forget(place, many)) == 2
    assert len(segment.taken) == 5001


def test_ids_that_segment_has_hashed_are_deleted_by_their_hashes(tmp_path: Path, segment: SegmentPublicApi) -> None:
    forget(segment_place(tmp_path, segment, privacy={"hash": ["context.user_id"]}))

    assert "42" not in segment.taken
    assert len(segment.taken) == 3
    assert forget(segment_place(tmp_path, segment, privacy={"drop": ["context.user_id"]})) == []


@pytest.mark.parametrize(
    ("reply", "remedy"),
    [
        (Reply(status=401), "public_api_token"),
        (Reply(status=403), "Workspace Owner"),
        (Reply(status=404), "source_id"),
        (Reply(status=422), "does not take such ids"),
        (Reply(status=429, headers={"X-Regulation-RateLimit-Quota-Reset": "2026-12-01"}), "after 2026-12-01"),
        (Reply(status=500), "run it again"),
        (Reply(body=b"<html>"), "public_api"),
        (CUT, "run it again"),
    ],
    ids=["401", "403", "404", "422", "429", "500", "page", "cut"],
)
def test_what_segment_refuses_is_left_and_sent_again(
    reply: Reply, remedy: str, tmp_path: Path, segment: SegmentPublicApi
) -> None:
    segment.script = [reply]
    place = segment_place(tmp_path, segment)

    (found,) = forget(place)
    assert found.events == 0
    assert "Segment's Public API" in found.left
    assert remedy in found.left
    assert "grace" not in found.left
    assert look(place)[0].events == 1
    assert forget(place)[0].events == 1


def test_google_is_asked_for_each_id_that_it_knows(tmp_path: Path, google: GoogleAdminApi) -> None:
    place = google_place(tmp_path, google)

    founds = forget(place)

    kinds = sorted(subject.partition("=")[0] for subject in google.taken)
    # A browser's own id, those that were made of the user, the names and the visitor, and the three of the user.
    assert kinds == ["clientId"] * 5 + ["userId"] * 3
    assert {"userId=42", "clientId=1234.5678"} <= google.taken.keys()
    assert [found.left for found in founds] == [""] * 8
    assert "grace@example.org" not in str(google.taken)
    assert look(place)[0].events == 0
    assert forget(place) == []


def test_google_goes_on_where_it_was_refused(tmp_path: Path, google: GoogleAdminApi) -> None:
    place = google_place(tmp_path, google)
    google.script = [Reply(body=b'{"deletionRequestTime": "2026-11-29T12:00:00Z"}'), Reply(status=401)]

    first, refused = forget(place)

    assert (first.events, refused.events) == (1, 0)
    assert "admin_token" in refused.left
    assert len(forget(place)) == 7


def test_google_knows_no_user_where_none_was_sent(tmp_path: Path, google: GoogleAdminApi) -> None:
    forget(google_place(tmp_path, google, send_user_id=False))

    assert {subject.partition("=")[0] for subject in google.taken} == {"clientId"}


def test_a_record_that_is_something_else_is_left_alone(tmp_path: Path, segment: SegmentPublicApi) -> None:
    record = tmp_path / "forgetting" / "deletions.json"
    record.parent.mkdir()
    record.write_text("[]")
    place = segment_place(tmp_path, segment)

    for (found,) in (look(place), forget(place)):
        assert "deletions.json is not a record" in found.left
    assert record.read_text() == "[]"
    assert not segment.calls
