"""What a Google Analytics user finds: events as Measurement Protocol hits, within Google's rules."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from dispatcher.errors import UndeliverableError
from dispatcher.event import Event, decode, encode
from dispatcher.tasks.destinations.firebase import Firebase, FirebaseOptions
from dispatcher.tasks.destinations.google_analytics import GoogleAnalytics, GoogleAnalyticsOptions
from dispatcher.tasks.destinations.google_tag_manager import GoogleTagManager, GoogleTagManagerOptions
from dispatcher.tasks.destinations.measurement_protocol.destination import body_of
from dispatcher.tasks.destinations.measurement_protocol.hit import Hit, HitOptions, to_hit
from dispatcher.tasks.destinations.measurement_protocol.identity import app_instance_id_of, client_id_of, to_session_id
from tests.support.edx_contexts import BROWSER, REQUEST

NOW = datetime(2026, 11, 23, 14, 0, tzinfo=UTC)
TIME = datetime(2026, 11, 23, 13, 50, 44, 123456, tzinfo=UTC)
MICROS = 1795441844123456
WHO = {"client_id": "123.456"}
SECRET = "hidden-value"


def an_event(name: str = "edx.course.enrollment.activated", **changes: Any) -> Event:
    fields: dict[str, Any] = {
        "id": "019abcde-0000-7000-8000-000000000001",
        "name": name,
        "timestamp": TIME,
        "data": {"mode": "honor", "course_id": "course-v1:Shore+KNOT101+2026"},
        "context": {},
    }
    return Event(**(fields | changes))


def a_hit(event: Event, **options: Any) -> Hit:
    return to_hit(event, WHO, HitOptions(**({"send_event_id": False} | options)), now=NOW)


def params_of(data: Any, context: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    params: dict[str, Any] = a_hit(an_event(data=data, context=context or {}), **options).event["params"]
    return params


def refusal(event: Event, **options: Any) -> tuple[str, str]:
    with pytest.raises(UndeliverableError) as refused:
        a_hit(event, **options)
    assert SECRET not in str(refused.value)
    return refused.value.reason, str(refused.value)


def test_an_event_becomes_a_hit_with_its_own_time_and_id() -> None:
    event = an_event(context={**BROWSER, "ga_session_id": 1795441000})
    hit = to_hit(event, WHO, HitOptions(), now=NOW)
    assert body_of([hit]) == {
        "client_id": "123.456",
        "user_id": "3",
        "events": [
            {
                "name": "edx_course_enrollment_activated",
                "timestamp_micros": MICROS,
                "params": {
                    "mode": "honor",
                    "course_id": "course-v1:Shore+KNOT101+2026",
                    "session_id": 1795441000,
                    "engagement_time_msec": 1,
                    "event_id": "019abcde-0000-7000-8000-000000000001",
                    "page_location": "https://courses.example.org/courses/x/",
                    "page_referrer": "https://courses.example.org/dashboard?é=1",
                },
            }
        ],
    }


def test_mapping_changes_nothing_of_the_event() -> None:
    event = an_event(data={"items": [{"item_id": "a", "deep": {}}], "user_properties": {"plan": "x"}, "n": None})
    before = copy.deepcopy((event.data, event.context))
    a_hit(event)
    assert (event.data, event.context) == before


@pytest.mark.parametrize(
    ("name", "cleaned"),
    [
        ("purchase", "purchase"),
        ("edx.course.enrollment.activated", "edx_course_enrollment_activated"),
        ("Order paid: 5 €", "Order_paid__5__"),
        ("error.shown", "error_shown"),
        ("x" * 40, "x" * 40),
        ("größe", "größe"),
        ("größe".replace("ö", "o\u0308"), "größe"),
        ("注册", "注册"),
        ("Вход.дня: 5", "Вход_дня__5"),
        ("コース登録", "コース登録"),
        ("التسجيل", "التسجيل"),
        ("step_٣_½", "step_٣__"),
        ("paid🎉", "paid_"),
        ("like ❤️", "like___"),
        ("é" * 40, "é" * 40),
    ],
)
def test_names_consist_of_letters_digits_and_underscores(name: str, cleaned: str) -> None:
    assert a_hit(an_event(name)).event["name"] == cleaned


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("x" * 41, "has 41 characters, and Google takes 40"),
        ("1st.step", "must begin with a letter"),
        ("/courses/x", "must begin with a letter"),
        ("🎉", "must begin with a letter"),
        ("½x", "must begin with a letter"),
        ("पंजीकरण", "U+0902 is not one of them"),
        ("注" * 41, "has 41 characters, and Google takes 40"),
        ("", "must begin with a letter"),
        ("session_start", "session_start is one of Google's own"),
        ("user.engagement", "user_engagement is one of Google's own"),
        ("error", "error is one of Google's own"),
        ("screen_view", "screen_view is one of Google's own"),
        ("ga_x", "begin with ga_"),
        ("google.x", "begin with google_"),
        ("firebase_campaign", "begin with firebase_"),
        ("gtag.config", "begin with gtag."),
        ("_x", "begin with _"),
    ],
)
def test_a_name_that_google_refuses_is_dead_with_a_remedy(name: str, words: str) -> None:
    reason, error = refusal(an_event(name))
    assert reason == "invalid"
    assert words in error
    assert "rename it in the destination's mapping" in error


def test_an_app_may_send_names_that_a_site_may_not() -> None:
    assert a_hit(an_event("screen_view"), app=True).event["name"] == "screen_view"
    assert refusal(an_event("first_open"), app=True)[0] == "invalid"


def test_parameters_and_user_properties_keep_the_letters_of_all_languages() -> None:
    data = {"größe": 1, "価格": "x", "user_properties": {"学校": "a"}, "items": [{"цвет": "red"}]}
    hit = a_hit(an_event(data=data))

    assert {key: hit.event["params"][key] for key in ("größe", "価格", "items")} == {
        "größe": 1,
        "価格": "x",
        "items": [{"цвет": "red"}],
    }
    assert hit.common["user_properties"] == {"学校": {"value": "a"}}


def test_an_error_shows_only_the_beginning_of_a_name() -> None:
    assert len(refusal(an_event("x" * 10_000))[1]) < 300


def test_amounts_that_are_the_text_of_a_number_become_numbers() -> None:
    data = decode(
        encode(
            an_event(
                data={
                    "value": Decimal("49.90"),
                    "tax": "7.60",
                    "shipping": "49,90",
                    "coupon": "10",
                    "items": [{"item_id": "17", "price": Decimal("24.95"), "quantity": "2", "index": "first"}],
                }
            )
        )
    ).data
    params = a_hit(an_event(data=data)).event["params"]

    assert {name: params[name] for name in data} == {
        "value": 49.9,
        "tax": 7.6,
        "shipping": "49,90",
        "coupon": "10",
        "items": [{"item_id": "17", "price": 24.95, "quantity": 2, "index": "first"}],
    }


def test_parameters_are_the_scalars_of_the_data() -> None:
    data = {
        "label": "course",
        "value": 12.5,
        "non_interaction": True,
        "passed": False,
        "zero": 0,
        "old-id": "a",
        "nothing": None,
        "empty": "",
        "object": {"a": 1},
        "list": [1, 2],
        "huge": 2**80,
    }
    assert params_of(data) == {
        "label": "course",
        "value": 12.5,
        "non_interaction": "true",
        "passed": "false",
        "zero": 0,
        "old_id": "a",
        "huge": str(2**80),
    }


@pytest.mark.parametrize("data", [None, "a=1&b=2", [1], 5, {}])
def test_data_other_than_an_object_makes_no_parameters(data: Any) -> None:
    assert params_of(data) == {}


def test_texts_are_cut_to_googles_limits() -> None:
    long = "é" * 2000
    data = dict.fromkeys(["label", "page_title", "page_referrer", "page_location"], long)
    lengths = {name: len(value) for name, value in params_of(data).items()}
    assert lengths == {"label": 100, "page_title": 300, "page_referrer": 420, "page_location": 1000}
    lengths = {name: len(value) for name, value in params_of(data, analytics_360=True).items()}
    assert lengths == {"label": 500, "page_title": 500, "page_referrer": 500, "page_location": 1000}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({f"p{n}": SECRET for n in range(26)}, "26 parameters, and Google takes 25: pick"),
        ({"x" * 41: SECRET}, "41 characters"),
        ({"_id": SECRET}, "parameter '_id'"),
        ({"firebase_conversion": SECRET}, "begin with firebase_"),
        ({"2nd": SECRET}, "must begin with a letter"),
        ({"a.b": SECRET, "a_b": SECRET}, "a_b comes from two fields"),
        ({"items": [{f"p{n}": SECRET for n in range(11)}]}, "11 parameters of your own, and Google takes 10"),
        ({"items": [{"google_x": SECRET}]}, "parameter 'google_x'"),
        ({"user_properties": {f"p{n}": SECRET for n in range(26)}}, "26 user properties, and Google takes 25"),
        ({"user_properties": {"x" * 25: SECRET}}, "25 characters, and Google takes 24"),
        ({"user_properties": {"user_id": SECRET}}, "user_id is one of Google's own"),
        ({"user_properties": {"_x": SECRET}}, "begin with _"),
    ],
)
def test_fields_that_google_refuses_are_dead_with_a_remedy(data: dict[str, Any], words: str) -> None:
    reason, error = refusal(an_event(data=data))
    assert reason == "invalid"
    assert words in error


def test_fields_that_are_left_out_may_have_any_name() -> None:
    assert params_of({"_id": None, "1": {}, "_list": [1]}) == {}


def test_items_is_the_only_list() -> None:
    items = [{"item_id": "a", "price": 5, "note": "x" * 200, "deep": [1], "none": None}, "no item"]
    assert params_of({"items": items}) == {"items": [{"item_id": "a", "price": 5, "note": "x" * 100}]}
    assert params_of({"items": "none"}) == params_of({"items": []}) == params_of({"items": ["none", {}]}) == {}


def test_our_own_parameters_never_exceed_the_limit_of_twenty_five() -> None:
    data = {f"p{n}": n for n in range(24)}
    params = params_of(data, BROWSER, send_event_id=True)
    assert params == data | {"event_id": "019abcde-0000-7000-8000-000000000001"}


def test_data_wins_over_the_context() -> None:
    data = {"page_location": "https://a.example/", "session_id": "5", "engagement_time_msec": 700, "event_id": "mine"}
    context = {**BROWSER, "ga_session_id": "6"}
    assert params_of(data, context, send_event_id=True) == data | {"page_referrer": REQUEST["referer"]}


def test_apps_and_sites_with_the_option_off_send_no_page() -> None:
    assert params_of({}, BROWSER, app=True) == params_of({}, BROWSER, send_page=False) == {}


@pytest.mark.parametrize(
    ("value", "session"),
    [
        (1795441000, 1795441000),
        ("1795441000", "1795441000"),
        ("GS1.1.1795441000.3.1.1795441500.0.0.0", "1795441000"),
        ("GS2.1.s1795441000$o3$g1$t1795441500$j60$l0$h0", "1795441000"),
        (1795441000.0, "1795441000"),
        *((damaged, None) for damaged in ("", " ", None, True, {}, -5, 1.5, 10**400, "deleted", "993110e9c27848a5")),
        *((damaged, None) for damaged in ("GS1.1.", "GS1.1.x.3", "GS2.1.s$o3", "1795441000\n7", "9" * 10_000)),
    ],
)
def test_the_session_comes_from_a_number_or_the_cookie(value: Any, session: str | int | None) -> None:
    assert to_session_id(value) == session


@pytest.mark.parametrize("damaged", ["993110e9c27848a545da74a74114158d", True, -1, "GS1.1."])
def test_a_damaged_session_in_the_data_gives_way_to_the_cookie(damaged: Any) -> None:
    assert "session_id" not in params_of({"session_id": damaged})
    assert params_of({"session_id": damaged}, {"ga_session_id": "GS1.1.17.3"})["session_id"] == "17"


def test_without_a_session_no_engagement_is_sent() -> None:
    assert "engagement_time_msec" not in params_of({"a": 1})


@pytest.mark.parametrize(
    "value", ["1033501218.1368477899", "GA1.1.1033501218.1368477899", "GA1.2-2.1033501218.1368477899"]
)
def test_the_client_comes_from_the_cookie(value: str) -> None:
    assert client_id_of(an_event(context={**REQUEST, "client_id": value})) == "1033501218.1368477899"


def test_without_a_cookie_each_person_is_one_client() -> None:
    ids = [
        client_id_of(an_event(context=context))
        for context in (
            {"user_id": 3},
            {"user_id": "3", "session": "a"},
            {"user_id": 4},
            {"anonymous_id": "3"},
            {"session": "3"},
            {"client_id": "no cookie", "user_id": 3},
            {"client_id": "0.1", "user_id": 3},
            {"client_id": f"1.{'9' * 10_000}", "user_id": 3},
            {"client_id": "GA1.1.1033501218.\n1368477899", "user_id": 3.0},
        )
    ]
    assert {ids[0], ids[1], *ids[5:]} == {"2138288981.411551415"}
    assert ids[3] == ids[4]
    assert len(set(ids)) == 3


@pytest.mark.parametrize("context", [{}, {"client_id": None, "user_id": "", "session": ""}, {"client_id": SECRET}])
def test_an_event_without_a_person_is_dead_and_the_error_says_what_to_bind(context: dict[str, Any]) -> None:
    with pytest.raises(UndeliverableError, match="cookie _ga, or user_id in the tracking context") as refused:
        client_id_of(an_event(context=context))
    assert refused.value.reason == "missing_client_id"
    assert SECRET not in str(refused.value)


def test_an_app_is_identified_by_its_instance() -> None:
    value = "0123456789abcdefABCDEF0123456789"
    assert app_instance_id_of(an_event(context={"app_instance_id": value})) == value
    assert app_instance_id_of(an_event(data={"app_instance_id": value})) == value
    assert params_of({"app_instance_id": value, "a": 1}) == {"a": 1}


@pytest.mark.parametrize(
    ("context", "reason"),
    [
        ({}, "missing_app_instance_id"),
        ({"app_instance_id": ""}, "missing_app_instance_id"),
        ({"app_instance_id": SECRET}, "invalid"),
        ({"app_instance_id": "0" * 31}, "invalid"),
        ({"app_instance_id": 5}, "invalid"),
    ],
)
def test_an_app_event_without_a_valid_instance_is_dead_with_a_remedy(context: dict[str, Any], reason: str) -> None:
    with pytest.raises(UndeliverableError, match="getAppInstanceId") as refused:
        app_instance_id_of(an_event(context=context))
    assert refused.value.reason == reason
    assert SECRET not in str(refused.value)


def test_events_up_to_72_hours_old_are_sent_and_older_ones_are_dead() -> None:
    limit = NOW - timedelta(hours=72)
    assert "timestamp_micros" in a_hit(an_event(timestamp=limit)).event
    reason, error = refusal(an_event(timestamp=limit - timedelta(hours=3)))
    assert reason == "too_old"
    assert "75 h ago" in error
    assert 'too_old = "now"' in error


def test_an_old_event_may_be_sent_with_the_current_time() -> None:
    assert "timestamp_micros" not in a_hit(an_event(timestamp=NOW - timedelta(days=9)), too_old="now").event


def test_a_future_event_gets_the_time_of_the_request() -> None:
    assert "timestamp_micros" not in a_hit(an_event(timestamp=NOW + timedelta(seconds=5))).event


def test_the_user_is_sent_unless_the_option_is_off() -> None:
    event = an_event(context={"user_id": 3})
    assert a_hit(event).common == WHO | {"user_id": "3"}
    assert a_hit(event, send_user_id=False).common == WHO
    reason, error = refusal(an_event(context={"user_id": "x" * 257}))
    assert reason == "invalid"
    assert "257 characters, and Google takes 256" in error


def test_user_properties_come_from_the_data_and_are_sent_beside_the_events() -> None:
    hit = a_hit(an_event(data={"user_properties": {"customer-tier": "x" * 40, "age": 5, "deep": {}, "none": None}}))
    assert hit.common["user_properties"] == {"customer_tier": {"value": "x" * 36}, "age": {"value": 5}}
    assert hit.event["params"] == {}
    assert "user_properties" not in a_hit(an_event(data={"user_properties": {"none": None}})).common


def test_user_properties_have_the_time_of_the_newest_event() -> None:
    data = {"user_properties": {"tier": "x"}}
    hits = [a_hit(an_event(data=data, timestamp=TIME + timedelta(microseconds=n))) for n in (0, 5, 3)]
    assert body_of(hits)["timestamp_micros"] == MICROS + 5
    late = a_hit(an_event(data=data, timestamp=NOW - timedelta(days=9)), too_old="now")
    assert "timestamp_micros" not in body_of([*hits, late])
    assert "timestamp_micros" not in body_of([a_hit(an_event())])


@pytest.mark.parametrize(
    ("categories", "consent"),
    [
        ({"ads": True, "personal": False}, {"ad_user_data": "GRANTED", "ad_personalization": "DENIED"}),
        ({"ads": False}, {"ad_user_data": "DENIED"}),
        ({"ads": "yes", "other": True}, None),
        (None, None),
    ],
)
def test_consent_comes_from_the_named_categories(categories: Any, consent: dict[str, str] | None) -> None:
    event = an_event(context={"consent": {"categoryPreferences": categories}})
    named = (("ad_user_data", "ads"), ("ad_personalization", "personal"))
    assert a_hit(event, consent=named).common.get("consent") == consent
    assert "consent" not in a_hit(event).common


def test_events_are_grouped_by_the_fields_that_a_request_holds_once() -> None:
    def key(**context: Any) -> bytes:
        consent = (("ad_user_data", "ads"),)
        data = {"user_properties": context.pop("properties", {}), "n": context.pop("n", 0)}
        return a_hit(an_event(data=data, context=context), consent=consent).common_key

    same = {key(user_id=3), key(user_id="3", ip="192.0.2.1"), key(user_id=3, n=5)}
    assert len(same) == 1
    others = {
        key(),
        key(user_id=4),
        key(user_id=3, properties={"tier": "a"}),
        key(user_id=3, properties={"tier": "b"}),
        key(user_id=3, consent={"categoryPreferences": {"ads": True}}),
    }
    assert len(others | same) == 6


def an_analytics(**options: Any) -> GoogleAnalytics:
    return GoogleAnalytics("site", GoogleAnalyticsOptions(**options))


def test_a_request_has_stream_and_secret_in_its_query() -> None:
    destination = an_analytics(measurement_id="G-1A2B", api_secret="hidden/secret")
    request = destination.request([a_hit(an_event())])
    assert request.full_url == (
        "https://www.google-analytics.com/mp/collect?measurement_id=G-1A2B&api_secret=hidden%2Fsecret"
    )
    assert request.headers == {"Content-Type": "application/json"}


def test_an_app_id_keeps_its_colons() -> None:
    options = FirebaseOptions(firebase_app_id="1:123:ios:abc", api_secret="s", endpoint="https://region1.example/")
    request = Firebase("app", options).request([a_hit(an_event())])
    assert request.full_url == "https://region1.example/mp/collect?firebase_app_id=1:123:ios:abc&api_secret=s"


def test_requests_to_a_container_have_its_path_and_header() -> None:
    options = GoogleTagManagerOptions(
        container_url="https://gtm.example.org/", path="/in", measurement_id="G-1", preview_header="hidden"
    )
    request = GoogleTagManager("gtm", options).request([a_hit(an_event())])
    assert request.full_url == "https://gtm.example.org/in?measurement_id=G-1"
    assert request.headers["X-Gtm-Server-Preview"] == "hidden"


def test_a_preview_masks_secrets() -> None:
    event = an_event(context={"user_id": 3}, timestamp=datetime.now(UTC))
    shown = an_analytics(measurement_id="G-1A2B", api_secret="hidden/secret").preview(event)
    assert shown["request"]["url"].endswith("?measurement_id=G-1A2B&api_secret=***")
    options = GoogleTagManagerOptions(container_url="https://gtm.example.org", preview_header="hidden")
    assert GoogleTagManager("gtm", options).preview(event)["request"]["headers"]["X-Gtm-Server-Preview"] == "***"


@pytest.mark.parametrize(
    ("destination", "variables"),
    [
        (an_analytics(), ["SITE__MEASUREMENT_ID", "SITE__API_SECRET"]),
        (an_analytics(measurement_id="G-1", api_secret=""), ["SITE__API_SECRET"]),
        (an_analytics(measurement_id="", api_secret="s"), ["SITE__MEASUREMENT_ID"]),
        (Firebase("app", FirebaseOptions(api_secret="s")), ["APP__FIREBASE_APP_ID"]),
        (Firebase("app", FirebaseOptions(firebase_app_id="1:2:ios:3")), ["APP__API_SECRET"]),
        (GoogleTagManager("gtm", GoogleTagManagerOptions()), ["GTM__CONTAINER_URL"]),
    ],
)
def test_a_missing_setting_is_named_by_its_variable(destination: Any, variables: list[str]) -> None:
    missing = destination.missing_settings()
    assert all(f"DISPATCHER_DESTINATIONS__{variable}" in missing for variable in variables)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (GoogleAnalyticsOptions, {"measurement_id": "1234567890"}),
        (GoogleAnalyticsOptions, {"measurement_id": "UA-1234-5"}),
        (GoogleAnalyticsOptions, {"endpoint": "www.google-analytics.com"}),
        (GoogleAnalyticsOptions, {"endpoint": "https://www.google-analytics.com/?api_secret=x"}),
        (GoogleAnalyticsOptions, {"too_old": "drop"}),
        (FirebaseOptions, {"firebase_app_id": "0123456789abcdefABCDEF0123456789"}),
        (GoogleTagManagerOptions, {"container_url": "GTM-ABC123"}),
        (GoogleTagManagerOptions, {"container_url": "https://user:password@gtm.example.org"}),
        (GoogleTagManagerOptions, {"path": "mp/collect"}),
        (GoogleTagManagerOptions, {"path": "/mp/collect?a=b"}),
    ],
)
def test_invalid_options_are_refused(kind: Any, options: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        kind(**options)
