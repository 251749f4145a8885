"""What Meta gets of an event: the person, the time, the place and the action."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import msgspec
import pytest
from pydantic import ValidationError

from dispatcher.config.rules import PrivacySettings
from dispatcher.errors import UndeliverableError
from dispatcher.event import Event
from dispatcher.rules.privacy import Privacy
from dispatcher.tasks.destinations.meta_conversions import MetaConversions
from dispatcher.tasks.destinations.meta_conversions.destination import MetaConversionsOptions, to_server_event

NOW = datetime(2026, 11, 23, 13, 50, 45, tzinfo=UTC)
AGENT = "Mozilla/5.0 (X11; Linux x86_64)"
PAGE = "https://learn.example.org/courses/course-v1:Shore+KNOT101+2026/about"
CONTEXT = {
    "ip": "203.0.113.9",
    "agent": AGENT,
    "page": PAGE,
    "referer": "https://learn.example.org/",
    "session": "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
    "user_id": 7,
    "username": "ada",
    "email": "Ada@Example.org",
    "fbp": "fb.1.1596403881668.1116446470",
    "course_id": "course-v1:Shore+KNOT101+2026",
}


def an_event(**changes: Any) -> Event:
    fields = {
        "id": "019abcde-0000-7000-8000-000000000001",
        "name": "edx.course.enrollment.activated",
        "timestamp": datetime(2026, 11, 23, 13, 50, 44, 123456, tzinfo=UTC),
        "data": {"mode": "verified", "course_id": "course-v1:Shore+KNOT101+2026"},
        "context": CONTEXT,
    }
    return Event(**(fields | changes))


def sent(event: Event, **options: Any) -> dict[str, Any]:
    return to_server_event(event, MetaConversionsOptions(**options), NOW)


def refusal(event: Event, **options: Any) -> UndeliverableError:
    with pytest.raises(UndeliverableError) as caught:
        sent(event, **options)
    return caught.value


def the_hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def test_an_event_becomes_a_server_event_with_its_own_id_and_time() -> None:
    event = an_event()
    before = copy.deepcopy(msgspec.to_builtins(event))

    assert sent(event) == {
        "event_name": "edx.course.enrollment.activated",
        "event_time": 1795441844,
        "event_id": "019abcde-0000-7000-8000-000000000001",
        "action_source": "website",
        "event_source_url": PAGE,
        "user_data": {
            "em": [the_hash("ada@example.org")],
            "external_id": [the_hash("7")],
            "client_ip_address": "203.0.113.9",
            "client_user_agent": AGENT,
            "fbp": "fb.1.1596403881668.1116446470",
        },
        "custom_data": {"mode": "verified", "course_id": "course-v1:Shore+KNOT101+2026"},
    }
    assert msgspec.to_builtins(event) == before


# ---- whom it is about


@pytest.mark.parametrize(
    ("field", "text", "expected"),
    [
        ("em", " John_Smith@gmail.com ", "62a14e44f765419d10fea99367361a727c12365e2520f32218d505ed9aa0f62f"),
        ("ph", "+1 (650)555-1212", "e323ec626319ca94ee8bff2e4c87cf613be6ea19919ed1364124e16807ab3176"),
        ("fn", "Mary", "6915771be1c5aa0c886870b6951b03d7eafc121fea0e80a5ea83beb7c449f4ec"),
        ("fn", "정", "8fa8cd9c440be61d0151429310034083132b35975c4bea67fdd74158eb51db14"),
        ("fn", "Valéry", "08e1996b5dd49e62a4b4c010d44e4345592a863bb9f8e3976219bac29417149c"),
        ("db", "1997-2-16", "01acdbf6ec7b4f478a225f1a246e5d6767eeab1a7ffa17f025265b5b94f40f0c"),
        ("country", "US", "79adb2a2fce5c6ba215fe5f27f532d4e7edbac4b6a5e09e1ef3a08084a904621"),
        ("zp", "94035-1234", the_hash("94035")),
        ("zp", 94035, the_hash("94035")),
        ("zp", "M1 1AE", the_hash("m11ae")),
        ("ct", "New York", the_hash("newyork")),
        ("ge", "Female", the_hash("f")),
        ("external_id", "0F1E" * 16, "0f1e" * 16),
    ],
)
def test_metas_own_examples_have_the_documented_hashes(field: str, text: object, expected: str) -> None:
    assert sent(an_event(data={"user_data": {field: text}}))["user_data"][field] == [expected]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("em", "nobody"),
        ("ph", "call me"),
        ("ph", "12345"),
        ("db", "16/2/1997"),
        ("db", "1997-02-30"),
        ("db", "1815-12-10"),
        ("ge", "o"),
        ("country", "Germany"),
        ("country", "zz"),
        ("ct", "12345"),
        ("fn", " "),
        ("fn", True),
        ("fn", None),
        ("client_ip_address", "unknown"),
        ("client_ip_address", "fe80::1%eth0"),
        ("client_user_agent", "Mozilla/5.0\x00"),
        ("client_user_agent", "x" * 10_000),
        *(
            ("fbc", text)
            for text in ("fb.1.1698765432000.", "fb.1.1698765432.IwAR", "fb.1.1698765432000.Iw AR", "IwAR")
        ),
        *(("fbc", value) for value in ("fb.1.1698765432000.IwAR\n.x", "fb.1.1698765432000." + "x" * 5000, 7, True, {})),
        *(("fbp", text) for text in ("fb.1.x", "fb.1.1596403881668.", "fb.1.1596403881668.abc", "fb.12.1.1", "null")),
        ("lead_id", "none"),
        ("madid", "x" * 5000),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_malformed_values_are_left_out(field: str, value: object) -> None:
    assert field not in sent(an_event(data={"user_data": {field: value}}))["user_data"]


def test_hashed_values_are_not_hashed_again() -> None:
    address = Privacy(PrivacySettings(), emails="hash").apply(an_event()).context["email"]

    assert address == the_hash("ada@example.org")
    assert sent(an_event(context={**CONTEXT, "email": address})) == sent(an_event())


def test_traits_become_metas_fields() -> None:
    traits = {
        "phone": "+49 30 1234567",
        "firstName": "Ada",
        "lastName": "King",
        "birthday": "1997-02-16T00:00:00Z",
        "gender": "female",
        "address": {"city": "Bad Homburg", "state": "Hessen", "postalCode": "61348", "country": "DE"},
    }
    expected = {
        "ph": "49301234567",
        "fn": "ada",
        "ln": "king",
        "db": "19970216",
        "ge": "f",
        "ct": "badhomburg",
        "st": "hessen",
        "zp": "61348",
        "country": "de",
    }

    for event in (
        an_event(data={"traits": traits}),
        an_event(context={**CONTEXT, "traits": traits}),
        an_event(type="track", data={"event": "Paid", "properties": {}, "context": {"traits": traits}}),
        an_event(data={**traits, "first_name": "not used"}),
    ):
        found = sent(event)["user_data"]
        assert {key: found.get(key) for key in expected} == {key: [the_hash(text)] for key, text in expected.items()}


def test_a_mapping_can_set_several_values_and_remove_one() -> None:
    said = {
        "em": ["a@example.org", "A@example.org", "b@example.org"],
        "external_id": "",
        "client_ip_address": None,
        "lead_id": 12,
        "fbp": "",
    }

    found = sent(an_event(data={"user_data": said}))["user_data"]

    assert found["em"] == [the_hash("a@example.org"), the_hash("b@example.org")]
    assert found["lead_id"] == "12"
    assert not {"external_id", "client_ip_address", "fbp"} & set(found)


def test_a_misspelt_field_in_a_mapping_is_reported() -> None:
    error = refusal(an_event(data={"user_data": {"email": "grace@example.org"}}))

    assert error.reason == "invalid"
    assert "user_data.email" in str(error)
    assert "em, ph" in str(error)
    assert "grace" not in str(error)


def test_a_click_id_in_the_page_url_becomes_fbc() -> None:
    page = f"{PAGE}?a=b&fbclid=IwAR2_aem_X"

    assert sent(an_event(context={**CONTEXT, "page": page}))["user_data"]["fbc"] == "fb.1.1795441844123.IwAR2_aem_X"
    cookie = {"page": page, "fbc": "fb.1.1554763741205.AbC"}
    assert sent(an_event(context=CONTEXT | cookie))["user_data"]["fbc"] == "fb.1.1554763741205.AbC"
    damaged = {"page": page, "fbc": "fb.1.1698765432000."}
    assert sent(an_event(context=CONTEXT | damaged))["user_data"]["fbc"] == "fb.1.1795441844123.IwAR2_aem_X"
    for query in ("fbclid=", "fbclid=%20", "fbclid=a%00b", f"fbclid={'x' * 5000}", "fbclid=%F0%9F%8E%89"):
        found = sent(an_event(context={**CONTEXT, "page": f"{PAGE}?{query}"}))
        assert found["user_data"].get("fbc") is None


@pytest.mark.parametrize("field", ["fbc", "fbp"])
def test_what_metas_own_builder_adds_to_a_cookie_stays(field: str) -> None:
    cookie = "fb.1.1596403881668.1116446470.AQ"
    assert sent(an_event(context={**CONTEXT, field: cookie}))["user_data"][field] == cookie


def test_a_value_that_cannot_be_gives_way_to_one_that_can() -> None:
    about = sent(
        an_event(
            context={"traits": {"phone": "  ", "firstName": {}}, "ip": "::ffff:192.0.2.7"},
            data={"user_id": 7, "phone": "+49 30 1234567", "firstName": "Ada"},
        )
    )["user_data"]
    assert about.keys() == {"ph", "fn", "external_id", "client_ip_address"}
    assert about["client_ip_address"] == "192.0.2.7"


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"client_user_agent": AGENT},
        {"ct": "Paris", "country": "FR", "st": "idf", "zp": "75018", "ge": "f", "client_user_agent": AGENT},
        {"db": "1997-02-16", "client_user_agent": AGENT},
        {"fn": "Grace", "ge": "f"},
        {"ln": "King"},
    ],
)
def test_an_event_of_an_unknown_person_is_dead_and_says_what_to_bind(said: dict[str, Any]) -> None:
    error = refusal(an_event(context={}, data={"user_data": said}))

    assert error.reason == "missing_user_data"
    assert "Bind user_id, email, ip, fbp or fbc" in str(error)
    assert "Grace" not in str(error)


@pytest.mark.parametrize("said", [{"fn": "Ada", "ln": "King"}, {"em": "a@b.org"}, {"fbp": "fb.1.1596403881668.1"}])
def test_an_event_of_an_identifiable_person_is_sent(said: dict[str, Any]) -> None:
    assert set(sent(an_event(context={}, data={"user_data": said}))["user_data"]) == set(said)


# ---- when and where


def test_events_are_sent_for_seven_days_and_store_events_for_sixty_two() -> None:
    week, two_months = NOW - timedelta(days=7), NOW - timedelta(days=62)

    assert sent(an_event(timestamp=week))["event_time"] == int(week.timestamp())
    error = refusal(an_event(timestamp=week - timedelta(seconds=1)))
    assert error.reason == "too_old"
    assert "7 days" in str(error)
    assert sent(an_event(timestamp=two_months), action_source="physical_store")["action_source"] == "physical_store"
    assert refusal(an_event(timestamp=two_months - timedelta(1)), action_source="physical_store").reason == "too_old"


def test_an_event_from_a_fast_clock_gets_the_current_time() -> None:
    assert sent(an_event(timestamp=NOW + timedelta(minutes=5)))["event_time"] == int(NOW.timestamp())
    assert refusal(an_event(timestamp=NOW + timedelta(minutes=6))).reason == "from_the_future"


@pytest.mark.parametrize("lacking", ["agent", "page"])
def test_without_page_or_browser_an_event_is_not_a_website_event(lacking: str) -> None:
    event = an_event(context={key: value for key, value in CONTEXT.items() if key != lacking})

    assert sent(event)["action_source"] == "system_generated"
    assert sent(event, action_source_without_browser="other")["action_source"] == "other"
    assert sent(event, action_source="email")["action_source"] == "email"


def test_a_server_event_of_edx_has_no_page_url() -> None:
    context = {**CONTEXT, "page": "x_module", "host": "learn.example.org", "path": "/handler/problem_check"}

    assert sent(an_event(context=context))["event_source_url"] == "https://learn.example.org/handler/problem_check"


def test_an_event_can_set_its_action_source() -> None:
    data = {"action_source": "chat", "event_source_url": "https://shop.example.org/", "mode": "verified"}

    found = sent(an_event(data=data))

    assert (found["action_source"], found["event_source_url"]) == ("chat", "https://shop.example.org/")
    assert found["custom_data"] == {"mode": "verified"}
    assert refusal(an_event(data={"action_source": "moon"})).reason == "invalid"


@pytest.mark.parametrize("name", ["", "n" * 51])
def test_a_name_that_meta_refuses_is_dead_with_a_remedy(name: str) -> None:
    error = refusal(an_event(name=name))

    assert error.reason == "invalid"
    assert "set name in the destination's mapping" in str(error)


def test_limited_data_use_is_requested_with_country_and_state() -> None:
    asked = sent(an_event(), limited_data_use=True, limited_data_use_country=1, limited_data_use_state=1000)

    assert asked["data_processing_options"] == ["LDU"]
    assert asked["data_processing_options_country"] == 1
    assert asked["data_processing_options_state"] == 1000


# ---- what it was


def test_standard_fields_have_their_types() -> None:
    data = {
        "value": "49.90",
        "currency": "Eur",
        "content_ids": "course-v1:Shore+KNOT101+2026",
        "content_name": "Knots for sailors",
        "content_type": "product",
        "contents": [{"id": "knots", "quantity": 1}, "no object", {}],
        "num_items": 1.0,
        "order_id": 17,
    }

    assert sent(an_event(name="Purchase", data=data))["custom_data"] == {
        "value": 49.9,
        "currency": "eur",
        "content_ids": ["course-v1:Shore+KNOT101+2026"],
        "content_name": "Knots for sailors",
        "content_type": "product",
        "contents": [{"id": "knots", "quantity": 1}],
        "num_items": 1,
        "order_id": "17",
    }


def test_the_contents_have_their_numbers_or_go_without() -> None:
    contents = [
        {"id": "a", "item_price": "24.95", "quantity": "2", "title": "5"},
        {"id": "b", "item_price": "24,95", "quantity": 10**400},
    ]
    custom = sent(an_event(data={"contents": contents, "value": "1_000", "attempts": 10**400}))["custom_data"]

    assert custom == {"contents": [{"id": "a", "item_price": 24.95, "quantity": 2, "title": "5"}, {"id": "b"}]}


def test_a_standard_field_of_another_type_is_left_out() -> None:
    data = {"value": "a lot", "currency": "euros", "content_type": "Comment", "num_items": 1.5, "predicted_ltv": True}

    assert "custom_data" not in sent(an_event(data=data))


def test_a_value_needs_a_currency() -> None:
    assert "custom_data" not in sent(an_event(data={"value": 5}))
    assert sent(an_event(data={"value": 5}), currency="EUR")["custom_data"] == {"value": 5, "currency": "eur"}


@pytest.mark.parametrize("data", [{}, {"value": 5}, {"currency": "EUR"}, {"value": "free", "currency": "EUR"}])
def test_a_purchase_without_value_and_currency_is_dead(data: dict[str, Any]) -> None:
    error = refusal(an_event(name="Purchase", data=data))

    assert error.reason == "invalid"
    assert "value and currency" in str(error)


def test_no_personal_data_becomes_a_custom_property() -> None:
    data = {
        "username": "ada",
        "target_username": "ada",
        "user_id": 7,
        "userEmail": "ada",
        "display_name": "Ada",
        "phone": "+49301234567",
        "ip": "203.0.113.9",
        "session_token": "secret",
        "contact": "ada@example.org",
        "hashed_contact": the_hash("ada@example.org"),
        "body": "What I wrote to the others",
        "long": "x" * 101,
        "nested": {"grade": 1},
        "list": [1],
        "nothing": None,
        "empty": "",
        "grade": 0.75,
        "passed": True,
        "attempts": 3,
        "block": "block-v1:Shore+KNOT101+2026+type@problem+block@first",
    }

    assert sent(an_event(data=data))["custom_data"] == {
        "grade": 0.75,
        "passed": True,
        "attempts": 3,
        "block": "block-v1:Shore+KNOT101+2026+type@problem+block@first",
    }


def test_a_mapping_can_add_other_fields() -> None:
    said = {"content_name": "Knots", "topic": "what sailors need", "steps": ["one", "two"], "left_out": None}

    found = sent(an_event(data={"custom_data": said, "content_name": "other"}))["custom_data"]

    assert found == {"content_name": "Knots", "topic": "what sailors need", "steps": ["one", "two"]}


@pytest.mark.parametrize("data", ["input_1=choice_0&input_2=choice_1", None, []])
def test_an_event_with_data_other_than_an_object_is_sent_without_it(data: Any) -> None:
    assert "custom_data" not in sent(an_event(data=data))


# ---- the request


def test_a_request_has_the_token_in_its_body_and_no_secret_in_its_url() -> None:
    options = MetaConversionsOptions(
        dataset_id="123", access_token="hidden-token", test_event_code="TEST123", partner_agent="shore"
    )
    meta = MetaConversions("meta", options)

    request = meta.request([msgspec.json.encode(sent(an_event()))])

    assert request.full_url == "https://graph.facebook.com/v26.0/123/events"
    body = msgspec.json.decode(request.body)
    assert [event.pop("event_id") for event in body.pop("data")] == [an_event().id]
    assert body == {"access_token": "hidden-token", "test_event_code": "TEST123", "partner_agent": "shore"}
    meta.close()


def test_a_missing_setting_is_named_by_its_variable() -> None:
    assert "DISPATCHER_DESTINATIONS__ADS__DATASET_ID" in str(
        MetaConversions("ads", MetaConversionsOptions()).missing_settings()
    )
    without_token = MetaConversions("ads", MetaConversionsOptions(dataset_id="123"))
    assert "DISPATCHER_DESTINATIONS__ADS__ACCESS_TOKEN" in str(without_token.missing_settings())


@pytest.mark.parametrize(
    "option",
    [
        {"dataset_id": "123/../me"},
        {"api_version": "26"},
        {"host": "https://user@graph.facebook.com"},
        {"currency": "euro"},
        {"action_source": "moon"},
    ],
)
def test_an_invalid_option_is_refused(option: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        MetaConversionsOptions(**option)
