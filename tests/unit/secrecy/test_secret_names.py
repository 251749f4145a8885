"""Which names are those of credentials: one list for settings, errors, headers and queries."""

from __future__ import annotations

import pytest

from dispatcher.secrecy.secret_names import is_secret, may_be_secret

SECRET = (
    *("write_key", "writeKey", "WriteKey", "api_key", "apikey", "key", "keys", "X-Api-Key", "dsn", "credentials"),
    *("secret", "client_secret", "api_secret", "signature", "sig", "x-amz-signature", "jwt", "cookie", "Set-Cookie"),
    *("password", "passwd", "pass", "pw", "passphrase", "ssl_password", "sentinel_password", "sasl.password"),
    *("token", "access_token", "apiToken", "auth", "basic_auth", "Proxy-Authorization", "sasl.jaas.config"),
)
SHOWN = (
    *("host", "path", "events", "keyspace", "batch_bytes", "passenger", "author", "design", "bypass", "config"),
    *("ssl_ca_certs", "ssl_keyfile", "sasl_mechanism", "user", "username", "signed", "keyboard"),
)


@pytest.mark.parametrize("name", [*SECRET, *(name.upper() for name in SECRET)])
def test_names_of_credentials_are_secret(name: str) -> None:
    assert is_secret(name)
    assert may_be_secret(name)


@pytest.mark.parametrize("name", SHOWN)
def test_other_names_are_shown(name: str) -> None:
    assert not is_secret(name)


@pytest.mark.parametrize("name", ["write_ky", "pasword", "toke", "secrt"])
def test_a_misspelt_name_may_be_secret(name: str) -> None:
    assert may_be_secret(name)
