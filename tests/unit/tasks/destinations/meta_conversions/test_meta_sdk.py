"""Requests equal those that Meta's own SDK builds for the same input, except for the differences listed here."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import pycountry
import pytest
from facebook_business.adobjects.serverside.action_source import ActionSource
from facebook_business.adobjects.serverside.content import Content
from facebook_business.adobjects.serverside.custom_data import CustomData
from facebook_business.adobjects.serverside.event import Event as SdkEvent
from facebook_business.adobjects.serverside.gender import Gender
from facebook_business.adobjects.serverside.normalize import Normalize
from facebook_business.adobjects.serverside.user_data import UserData
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dispatcher.event import Event
from dispatcher.tasks.destinations.meta_conversions.countries import COUNTRIES
from dispatcher.tasks.destinations.meta_conversions.destination import MetaConversionsOptions, to_server_event
from dispatcher.tasks.destinations.meta_conversions.normalising import hashed

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
AGENT = "Mozilla/5.0 (X11; Linux x86_64)"
PAGE = "https://learn.example.org/courses"

_HASH_OF_NOTHING = sha256(b"").hexdigest()

anything = st.text(max_size=30)
names = st.one_of(anything, st.sampled_from([" Valéry ", "정", "Mary-Jane", "O'Brien", "İpek"]))
places = st.one_of(anything, st.text(alphabet="aZé .-()'19\t", max_size=20), st.just("Saint-Étienne (42)"))
postcodes = st.one_of(anything, st.text(alphabet="0123456789- ", max_size=11), st.just(" M1 1AE "))
phones = st.one_of(
    anything, st.text(alphabet="+0123456789 ()-", max_size=24), st.text(alphabet="+٣0123456789 ().x", max_size=20)
)
emails = st.one_of(anything, st.emails(), st.emails().map(lambda email: f"  {email.upper()}\n"))
countries = st.one_of(anything, st.text(alphabet="dDeEuUsS. ", max_size=6), st.sampled_from(sorted(COUNTRIES)))
hashes = st.one_of(
    st.text(alphabet="09afF", min_size=64, max_size=64), st.text(alphabet="09af", min_size=32, max_size=32)
)


def sdk_hash(field: str, text: str) -> str | None:
    """What the SDK makes of a text; None where it refuses it, or where it hashes nothing at all."""
    try:
        found = Normalize.normalize_field(field, text)
    except (TypeError, ValueError):
        return None
    return None if found == _HASH_OF_NOTHING else found


@given(field=st.sampled_from(["em", "fn", "ln", "ct", "st", "zp", "country"]), text=st.one_of(names, places, hashes))
@example(field="ct", text="123")
def test_any_text_in_any_field_has_the_hash_of_the_sdk(field: str, text: str) -> None:
    assert hashed(field, text) == sdk_hash(field, text)


@given(emails)
def test_an_email_address_has_the_hash_of_the_sdk(text: str) -> None:
    assert hashed("em", text) == sdk_hash("em", text)


@given(places, postcodes, countries)
def test_places_have_the_hashes_of_the_sdk(place: str, postcode: str, country: str) -> None:
    assert hashed("ct", place) == sdk_hash("ct", place)
    assert hashed("st", place) == sdk_hash("st", place)
    assert hashed("zp", postcode) == sdk_hash("zp", postcode)
    assert hashed("country", country) == sdk_hash("country", country)


@given(phones)
@example("+1 (650) 555-1212")
@example("0049 30 1234567")
@example("0+49301234567")
def test_a_phone_number_has_the_hash_of_the_sdk_if_the_sdk_accepts_it(text: str) -> None:
    expected = sdk_hash("ph", text)

    assert expected is None or hashed("ph", text) == expected


@pytest.mark.parametrize("text", ["+1.650.555.1212", "+1/650/5551212", "000001 650 555 1212"])
def test_symbols_in_a_phone_number_that_the_sdk_refuses_are_removed(text: str) -> None:
    """Meta's rule is to remove symbols and all leading zeros."""
    assert sdk_hash("ph", text) is None
    assert hashed("ph", text) == sha256(b"16505551212").hexdigest()


@given(st.dates(min_value=datetime(1900, 1, 1, tzinfo=UTC).date(), max_value=NOW.date()))
def test_a_date_of_birth_has_the_sdks_hash_of_metas_form(day: Any) -> None:
    """The SDK hashes a date as it is written; Meta's form is YYYYMMDD."""
    expected = sdk_hash("db", f"{day:%Y%m%d}")

    for form in (f"{day:%Y%m%d}", f"{day:%Y-%m-%d}", f"{day.year}/{day.month}/{day.day}", f"{day:%Y-%m-%d}T00:00:00Z"):
        assert hashed("db", form) == expected


@pytest.mark.parametrize(
    ("gender", "words"), [(Gender.FEMALE, ["f", "F", "female", " Female "]), (Gender.MALE, ["m", "Male"])]
)
def test_a_gender_has_the_hash_of_the_sdk(gender: Gender, words: list[str]) -> None:
    (expected,) = UserData(gender=gender).normalize()["ge"]

    assert {hashed("ge", word) for word in words} == {expected}


def test_an_external_id_is_hashed_though_the_sdk_sends_it_plain() -> None:
    """Meta recommends to hash it, and it may be a user name."""
    assert UserData(external_id="Ada").normalize()["external_id"] == ["Ada"]
    assert hashed("external_id", "Ada ") == sha256(b"ada").hexdigest()
    # An anonymous id of edX looks like MD5.
    assert hashed("external_id", "0" * 32) == sha256(b"0" * 32).hexdigest()


def test_the_countries_equal_those_of_the_sdk() -> None:
    assert {country.alpha_2.lower() for country in pycountry.countries} == COUNTRIES


@settings(max_examples=30)
@given(
    email=st.emails(),
    phone=st.integers(10**9, 10**13).map("+{}".format),
    first=st.one_of(st.just("Ada"), names),
    last=st.one_of(st.just("King"), names),
    city=places,
    state=places,
    postcode=postcodes,
    country=st.sampled_from(sorted(COUNTRIES)),
    value=st.floats(min_value=0, max_value=1e9),
    count=st.integers(0, 1000),
)
def test_a_whole_event_equals_the_sdks(
    email: str,
    phone: str,
    first: str,
    last: str,
    city: str,
    state: str,
    postcode: str,
    country: str,
    value: float,
    count: int,
) -> None:
    address = {"city": city, "state": state, "postalCode": postcode, "country": country.upper()}
    event = Event(
        id="019abcde-0000-7000-8000-000000000001",
        name="Purchase",
        timestamp=NOW,
        data={
            "traits": {
                "phone": phone,
                "firstName": first,
                "lastName": last,
                "gender": "female",
                "birthday": "1915-12-10" if count % 2 else "1997-02-16",
                "address": address,
            },
            "value": value,
            "currency": "EUR",
            "content_ids": ["course-v1:Shore+KNOT101+2026"],
            "content_type": "product",
            "contents": [{"id": "knots", "quantity": 2, "item_price": 4.5}],
            "num_items": count,
            "order_id": "EDX-100",
            "mode": "verified",
        },
        context={
            "email": email,
            "user_id": 7,
            "ip": "203.0.113.9",
            "agent": AGENT,
            "page": PAGE,
            "fbc": "fb.1.1554763741205.AbC",
            "fbp": "fb.1.1596403881668.1116446470",
        },
    )
    sdk_event = SdkEvent(
        event_name="Purchase",
        event_time=int(NOW.timestamp()),
        event_id=event.id,
        event_source_url=PAGE,
        action_source=ActionSource.WEBSITE,
        user_data=UserData(
            email=email,
            phone=phone,
            gender=Gender.FEMALE,
            date_of_birth="19151210" if count % 2 else "19970216",
            first_name=first,
            last_name=last,
            city=city,
            state=state,
            zip_code=postcode,
            country_code=country,
            external_id=hashed("external_id", 7),
            client_ip_address="203.0.113.9",
            client_user_agent=AGENT,
            fbc="fb.1.1554763741205.AbC",
            fbp="fb.1.1596403881668.1116446470",
        ),
        custom_data=CustomData(
            value=value,
            currency="EUR",
            content_ids=["course-v1:Shore+KNOT101+2026"],
            content_type="product",
            contents=[Content(product_id="knots", quantity=2, item_price=4.5)],
            num_items=count,
            order_id="EDX-100",
            custom_properties={"mode": "verified"},
        ),
    )
    expected = sdk_event.normalize()
    # The SDK sends the hash of nothing for what has nothing in it, and null for what it was not given.
    expected["user_data"] = {
        key: values for key, values in expected["user_data"].items() if values not in ([_HASH_OF_NOTHING], [None])
    }

    assert to_server_event(event, MetaConversionsOptions(), NOW) == expected
