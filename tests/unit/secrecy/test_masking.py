"""Credentials inside URLs, queries, headers, JSON and sentences are replaced; what is none stays readable."""

from __future__ import annotations

import pytest

from dispatcher.secrecy.masking import mask, mask_addresses, mask_url

# In every text the credential is HUSH or begins with it.
TEXTS = [
    "redis://user:HUSH@h:6379/0",
    "redis://:HUSH@w@h",
    "redis://:HUSH/w@h:1",
    "redis://:HUSH?w#x@h:1",
    "REDIS://U:HUSH@H",
    "redis://:HUSH%40x@h",
    "redis://u%3AHUSH@h",
    "redis://:a HUSH@h:1/0",
    "redis://:a\"HUSH'w@h",
    "redis://:HUSH",
    "redis://:HUSH@[::1]:6379",
    "unix://:HUSH@/run/x.sock?db=1",
    "redis+socket://u:HUSH@/run/x.sock?virtual_host=0",
    "sentinel://:HUSH@x;sentinel://:HUSH@y",
    "sentinel://:HUSH@x:26379;:HUSH@y:26379/0?master_name=m",
    "sentinel://x:26379/0?master_name=m&sentinel_password=HUSH",
    "amqp://u:HUSH@h1//;amqp://u:HUSH@h2//",
    "tried redis://:HUSH@a, redis://:HUSH@b and gave up",
    "sqs://AKIA:HUSH%2Fret@",
    "rediss://h:1/0?ssl_password=HUSH&db=1",
    "rediss://h:1/0?db=1&password=HUSH",
    "rediss://h:1/0?pass%77ord=HUSH",
    "https://h/?access_token=HUSH&page=2",
    "https://h/collect?x=1&api_secret=HUSH failed",
    "https://x/?next=https%3A%2F%2Fu%3AHUSH%40h%2Fz&b=1",
    "https://HUSH0123456789abcdef@o1.ingest.sentry.io/1",
    "(Caused by NewConnectionError('https://u:HUSH@h/x: refused'))",
    "url: /m?api_key=HUSH (Caused by …)",
    "h:6379,password=HUSH,ssl=True",
    "connect(password='HUSH two', host='h')",
    'write_key = "HUSH two"',
    "{'password': 'HUSH', 'x': 1}",
    '{"api_key": "HUSH\\"HUSH", "x": 1}',
    '"{\\"token\\": \\"HUSH\\"}"',
    "{'api_key': b'HUSH'}",
    "Authorization: Basic HUSH",
    "proxy-authorization: HUSH",
    "Cookie: sessionid=HUSH; x=HUSH",
    "sent Bearer HUSH12345",
]
PLAIN = [
    "redis://h:6379/0",
    "redis://[::1]:6379/0",
    "(redis://127.0.0.1:6379)",
    "redis://user@h:6379/0",
    "http://localhost:8288/",
    "unix:///run/redis/redis.sock?db=1",
    "redis://h:6379 refused, see https://docs.example/y: or mail somebody",
    "it must look like sentinel://host:26379;host2:26379/0?master_name=mymaster",
    "redis://host:port/0?ssl_cert_reqs=required",
    "write_key: it must not be empty",
    '{"password": null, "name": "x"}',
    "block-v1:Org+C+R+type@video+block@intro",
    "set DISPATCHER_STRICT=false outside of development",
]


@pytest.mark.parametrize(
    "password", ["HUSH://HUSH", "HUSH,HUSH://HUSH", "p@HUSH://HUSH", "/HUSH://", "a://b://HUSH", "HUSH+HUSH://@HUSH"]
)
@pytest.mark.parametrize(
    "frame", ["redis://u:{}@h:6379/0", "no answer of redis://:{}@h", "redis://a:6379,redis://u:{}@h"]
)
def test_a_password_that_looks_like_a_url_is_masked(frame: str, password: str) -> None:
    assert "HUSH" not in mask_url(frame.format(password))
    assert mask_url(frame.format(password)).endswith(("@h", "@h:6379/0"))


@pytest.mark.parametrize("text", TEXTS)
def test_a_credential_in_a_text_is_masked(text: str) -> None:
    masked = mask_url(text)

    assert "HUSH" not in masked
    assert "***" in masked
    assert mask_url(masked) == masked


@pytest.mark.parametrize("text", PLAIN)
def test_a_text_without_a_credential_stays(text: str) -> None:
    assert mask_url(text) == text


@pytest.mark.parametrize("text", [":HUSH@h:6379/0", "redis:/:HUSH@h", "redis//u:HUSH@h/0", "HUSH@h"])
def test_what_is_meant_for_a_url_is_masked_without_a_scheme(text: str) -> None:
    assert "HUSH" not in mask("broker_url", text)
    assert mask("url", "h@") == "***@"


def test_addresses_in_a_text_are_masked() -> None:
    text = "mail ada.l+x@example.co.uk or ada%40example.org of block-v1:Org+C+R+type@video+block@intro"

    assert mask_addresses(text) == "mail *** or *** of block-v1:Org+C+R+type@video+block@intro"
