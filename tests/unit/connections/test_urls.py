"""URLs of brokers and stores: what each client is given, and what is refused."""

from __future__ import annotations

import ssl

import pytest

from dispatcher import config
from dispatcher.connections.cluster_address import ClusterAddress
from dispatcher.connections.redis_address import RedisAddress
from dispatcher.connections.redis_pool import kombu_options
from dispatcher.connections.sentinels import Sentinels
from dispatcher.connections.urls import broker_tls, is_local, kombu_url, redis_url, without_password
from dispatcher.errors import SettingsError

ALL = "sentinel://user:p%40ss@s1:26379;s2;[::1]:5000/3?master_name=events&sentinel_password=secret"


def test_a_sentinel_url_holds_hosts_primary_database_and_credentials() -> None:
    assert Sentinels.from_url(ALL) == Sentinels(
        hosts=(("s1", 26379), ("s2", 26379), ("::1", 5000)),
        master_name="events",
        database=3,
        username="user",
        password="p@ss",
        sentinel_password="secret",
    )


@pytest.mark.parametrize(
    "url",
    [
        "sentinel://s1:1;s2:2/0?master_name=m",
        "sentinel://s1:1;sentinel://s2:2/0?master_name=m",
        " sentinel://s1:1 ; s2:2/0?master_name=m ",
    ],
)
def test_every_sentinel_may_repeat_the_scheme(url: str) -> None:
    found = Sentinels.from_url(url)
    assert found.hosts == (("s1", 1), ("s2", 2))
    assert (found.username, found.password, found.database) == (None, None, 0)


def test_kombu_gets_its_own_url_form_and_messages_get_no_password() -> None:
    assert kombu_url(ALL) == (
        "sentinel://user:p%40ss@s1:26379/3;sentinel://user:p%40ss@s2:26379/3;sentinel://user:p%40ss@[::1]:5000/3"
    )
    options = kombu_options(ALL, timeout_seconds=2)
    assert options["master_name"] == "events"
    assert options["sentinel_kwargs"]["password"] == "secret"
    assert options["sentinel_kwargs"]["socket_timeout"] == 2
    assert without_password(ALL) == "sentinel://s1:26379;s2:26379;[::1]:5000/3?master_name=events"


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("sentinel://s1:26379/0", "it does not say which primary is meant"),
        ("sentinel://s1:x/0?master_name=m", "it must look like sentinel://host:26379"),
        ("sentinel://;s2/0?master_name=m", "a host or port cannot be read; it must look like sentinel://host"),
        ("sentinel://s1/events?master_name=m", "its database must be a number"),
        ("sentinel://s1/0?master_name=m&master=m", "unknown option master: take it away. It takes master_name, "),
    ],
)
def test_an_unusable_url_is_refused_with_the_expected_form(url: str, problem: str) -> None:
    with pytest.raises(SettingsError) as caught:
        config.load(overrides={"broker_url": url})
    assert problem in str(caught.value)


def test_a_sentinel_broker_is_also_the_store() -> None:
    url = "sentinel://s1;s2/0?master_name=events"
    settings = config.load(overrides={"broker_url": url})
    assert settings.store == settings.broker == url


@pytest.mark.parametrize(
    ("url", "spelt"),
    [
        ("redis://h:1/0", "redis://h:1/0"),
        ("unix:///run/r.sock?db=2", "redis+socket:///run/r.sock?virtual_host=2"),
        ("rediss://h/0", "rediss://h/0?ssl_cert_reqs=required"),
        ("rediss://h/0?ssl_ca_certs=/ca", "rediss://h/0?ssl_ca_certs=/ca&ssl_cert_reqs=required"),
        ("rediss://h/0?ssl_cert_reqs=none", "rediss://h/0?ssl_cert_reqs=none"),
        ("amqps://u:p@h//?ssl_ca_certs=/ca;amqps://u:p@i//", "amqps://u:p@h//;amqps://u:p@i//"),
        ("amqp://h//", "amqp://h//"),
    ],
)
def test_kombu_is_told_to_verify_certificates(url: str, spelt: str) -> None:
    assert kombu_url(url) == spelt


def test_host_names_of_rabbitmq_are_verified() -> None:
    assert broker_tls("amqp://h//") is None
    assert broker_tls("amqps://h//?ssl_ca_certs=/ca") == {
        "server_hostname": None,
        "cert_reqs": ssl.CERT_REQUIRED,
        "ca_certs": "/ca",
    }


def test_a_rabbitmq_whose_certificate_is_not_checked_has_no_host_name_to_check() -> None:
    assert broker_tls("amqps://h//?ssl_cert_reqs=CERT_NONE") == {"cert_reqs": ssl.CERT_NONE}


@pytest.mark.parametrize(
    ("url", "redis_py", "kombu"),
    [
        ("REDIS://H/?db=2", "redis://h/2", "redis://h/2"),
        ("redis://h//1", "redis://h/1", "redis://h/1"),
        ("redis://h?username=u&password=p%40", "redis://u:p%40@h/0", "redis://u:p%40@h/0"),
        ("redis://:%25@[::1]:6/0", "redis://:%25@[::1]:6/0", "redis://:%25@[::1]:6/0"),
        ("rediss://h?SSL_CERT_REQS=CERT_NONE", "rediss://h/0?ssl_cert_reqs=none", "rediss://h/0?ssl_cert_reqs=none"),
        ("redis+socket:///a%23?db=1", "unix:///a%23?db=1", "redis+socket:///a%23?virtual_host=1"),
        ("unix://u:p@/a?virtual_host=1", "unix://u:p@/a?db=1", "redis+socket://u:p@/a?virtual_host=1"),
    ],
)
def test_both_dialects_mean_the_same_server_to_both_clients(url: str, redis_py: str, kombu: str) -> None:
    assert (redis_url(url), kombu_url(url)) == (redis_py, kombu)


@pytest.mark.parametrize(
    "url", ["redis://u:hush@h/0", "rediss://h?password=hush&ssl_password=hush", "unix://:hush@/r.sock"]
)
def test_messages_about_a_redis_hold_no_password(url: str) -> None:
    assert "hush" not in without_password(url)
    assert "hush" not in repr(RedisAddress.from_url(url))


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.8.8", "::1"])
def test_loopback_names_and_addresses_are_local(host: str) -> None:
    assert is_local(host)


@pytest.mark.parametrize("host", [None, "", "redis", "127.example.org", "localhost.example.org", "10.0.0.1"])
def test_other_hosts_are_not_local(host: str | None) -> None:
    assert not is_local(host)


def test_a_cluster_url_holds_servers_login_and_options() -> None:
    url = " rediss+cluster://u:p%40ss@c1;c2:7001;RedisS+Cluster://[::1]:7002/0?ssl_ca_certs=/ca "
    found = ClusterAddress.from_url(url)
    tls = {"ssl_ca_certs": "/ca", "ssl_cert_reqs": "required"}
    assert [(node.host, node.port) for node in found.nodes] == [("c1", None), ("c2", 7001), ("::1", 7002)]
    assert all((node.username, node.password, node.tls) == ("u", "p@ss", tls) for node in found.nodes)
    assert found.at("c9", 5).redis_url() == "rediss://u:p%40ss@c9:5/0?ssl_ca_certs=/ca&ssl_cert_reqs=required"
    assert without_password(url) == "rediss+cluster://u:***@c1;c2:7001;[::1]:7002"


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("redis+cluster://:hush@c1/1", "the database 0 only"),
        ("redis+cluster://:hush@c1?db=2", "the database 0 only"),
        ("redis+cluster://:hush@;c2", "has no host"),
        ("redis+cluster://c1;rediss+cluster://c2", "either all redis+cluster:// or all rediss+cluster://"),
        ("redis+cluster://:hush@c1?ssl_ca_certs=/ca", "is for rediss://"),
        ("redis+cluster://user@c1", "a user and no password"),
        ("redis-cluster://c1", "did you mean redis+cluster://?"),
    ],
)
def test_an_unusable_cluster_is_refused_with_the_expected_form(url: str, problem: str) -> None:
    with pytest.raises(SettingsError) as caught:
        config.load(overrides={"broker_url": "redis://h", "store_url": url})
    assert problem in str(caught.value)
    assert "hush" not in str(caught.value)


def test_a_cluster_is_no_broker_and_what_is_one_is_named() -> None:
    with pytest.raises(SettingsError, match="a plain Redis, RabbitMQ or SQS beside it"):
        config.load(overrides={"broker_url": "redis+cluster://c1"})
    settings = config.load(overrides={"broker_url": "redis://h", "store_url": "redis+cluster://c1"})
    assert (settings.broker, settings.store) == ("redis://h", "redis+cluster://c1")
