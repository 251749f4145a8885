"""``dispatcher doctor`` on badly set up deployments, and on the same ones repaired, with real servers."""

from __future__ import annotations

import json
import socket
import ssl
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from dispatcher.cli.main import main
from dispatcher.doctor import AREAS, Finding, examine
from dispatcher.doctor.checks.destinations import reach, urls
from dispatcher.doctor.checks.flower import probe
from dispatcher.local.segment_stub import SegmentStub
from dispatcher.store.counts import NOT_TAKEN
from dispatcher.store.dead_event import DeadEvent
from dispatcher.store.put import Put
from dispatcher.tasks.destinations.segment import SegmentOptions
from tests.support.site import Site
from tests.support.waiting import wait_for

#: A lease that holds for Segment's own timeouts, and a Segment that is left alone for as long as the test lasts.
FIT = {
    "DISPATCHER_DESTINATIONS__SEGMENT__LEASE_SECONDS": "60",
    "DISPATCHER_DESTINATIONS__TRACKING_LOG__LEASE_SECONDS": "60",
}
#: What a busy machine, a small disk or a container's layer may have something to say on.
OF_THE_MACHINE = {"redis.latency", "redis.disk", "outbox.file_system", "outbox.room", "log.file_system", "log.room"}
PATIENCE = 60.0


def look(site: Site, *only: str, quick: bool = False, **environ: str) -> list[Finding]:
    return examine({**site.environ, **FIT, **environ}, only=only, quick=quick)


def levels(found: Sequence[Finding], check: str) -> set[str]:
    return {finding.level for finding in found if finding.check == check}


def bad(found: Sequence[Finding]) -> dict[str, str]:
    """The checks with a finding and its level, without those that depend on the machine."""
    return {
        finding.check: finding.level
        for finding in found
        if finding.level in ("warning", "error") and finding.check not in OF_THE_MACHINE
    }


def doctor(site: Site, *arguments: str, code: int) -> str:
    """Run the command in this process, and return what it prints. It must exit with ``code``."""
    done = CliRunner().invoke(main, ["doctor", *arguments], env=site.environ, catch_exceptions=False)
    assert done.exit_code == code, f"it ended with {done.exit_code}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


# Redis


def test_each_mistake_in_redis_settings_is_a_finding_until_it_is_fixed(site: Site) -> None:
    config = {"appendonly": "no", "maxmemory-policy": "allkeys-lru", "maxmemory": "100kb"}
    before = dict(zip(config, (site.redis.call("CONFIG", "GET", name)[1] for name in config), strict=True))
    for name, value in config.items():
        site.redis.call("CONFIG", "SET", name, value)

    assert bad(look(site, "redis")) == {
        "redis.persistence": "error",
        "redis.eviction": "error",
        "redis.memory": "error",
    }

    for name, value in before.items():
        site.redis.call("CONFIG", "SET", name, value)
    found = look(site, "redis")
    assert bad(found) == {}
    assert {"redis.reachable", "redis.version", "redis.clock", "redis.clients", "redis.disk", "redis.latency"} <= {
        finding.check for finding in found
    }


def test_everything_else_is_examined_while_redis_is_down(site: Site) -> None:
    site.redis.stop()

    found = look(site)

    # The site is in development, and its stand-in for Segment has a key.
    assert bad(found) == {"redis.reachable": "error", "settings.environment": "warning"}
    assert levels(found, "workers.answer") == levels(found, "deliveries.ledger") == {"note"}
    # The site has no collector, of which nothing is said then.
    assert {finding.area for finding in found} == {area.name for area in AREAS} - {"collector"}

    site.redis.start()
    assert levels(look(site, "redis"), "redis.reachable") == {"ok"}


def test_a_silent_redis_counts_as_unreachable(site: Site) -> None:
    site.redis.freeze()
    try:
        assert levels(look(site, "redis"), "redis.reachable") == {"error"}
    finally:
        site.redis.thaw()


def test_a_broker_other_than_redis_that_does_not_answer_is_an_error(site: Site) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"amqp://guest:hunter2@127.0.0.1:{closed.getsockname()[1]}//"
        found = look(site, "broker", "workers", DISPATCHER_BROKER_URL=url, DISPATCHER_STORE_URL=site.redis.url)

    assert bad(found) == {"broker.reachable": "error"}
    assert levels(found, "workers.answer") == {"note"}
    assert "hunter2" not in str(found)
    assert levels(look(site, "broker"), "broker.reachable") == {"note"}


# Outboxes


def test_the_outbox_of_a_killed_process_is_an_error_until_a_relay_adopts_it(site: Site) -> None:
    site.leave_behind(3)

    assert bad(look(site, "outbox", quick=True)) == {"outbox.relayed": "error"}
    assert bad(look(site, "outbox", quick=True, DISPATCHER_RELAY__MODE="external")) == {
        "outbox.relayed": "error",
        "outbox.relay": "error",
    }

    relay = site.processes.dispatcher("relay")
    wait_for(
        lambda: bad(look(site, "outbox", quick=True, DISPATCHER_RELAY__MODE="external")) == {},
        what="a relay to read it",
    )
    relay.stop()


# Destinations


@contextmanager
def tls_server(directory: Path, *, days: int) -> Iterator[tuple[str, Path]]:
    """The URL of an HTTPS server, and its certificate, which is valid for ``days`` more days."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = directory / f"certificate-{days}.pem"
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.write_bytes(private + certificate.public_bytes(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=shake_hands, args=(listening, context))
        thread.start()
        try:
            yield f"https://127.0.0.1:{listening.getsockname()[1]}", file
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join(60)


def shake_hands(listening: socket.socket, context: ssl.SSLContext) -> None:
    while True:
        try:
            connection, _ = listening.accept()
        except OSError:
            return  # it was shut down
        try:
            with context.wrap_socket(connection, server_side=True) as encrypted:
                encrypted.recv(1)
        except OSError:
            connection.close()  # it did not trust us


def reached(address: str) -> dict[str, Finding]:
    (url,) = urls(SegmentOptions(host=address)).values()
    return {finding.check: finding for finding in reach("segment", url)}


@pytest.mark.parametrize(("days", "level"), [(5, "warning"), (300, "ok")])
def test_a_certificate_is_examined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: int, level: str) -> None:
    with tls_server(tmp_path, days=days) as (address, file):
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(file))
        found = reached(address)
        assert found["destinations.reachable"].level == "ok"
        assert found["destinations.certificate"].level == level
        assert f"{days - 1} more days" in found["destinations.certificate"].what or f"{days} more" in str(found)


def test_an_untrusted_certificate_is_an_error(tmp_path: Path) -> None:
    with tls_server(tmp_path, days=300) as (address, _):
        found = reached(address)
    assert found["destinations.reachable"].level == "error"
    assert "certificate is not valid" in found["destinations.reachable"].what


def test_an_unreachable_destination_is_an_error_and_reachable_ones_get_no_request(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert bad(look(site, "destinations")) == {}
    assert site.segment_stub.counts()["requests"] == 0

    port = site.segment_stub.port
    site.segment_stub.stop()
    assert bad(look(site, "destinations")) == {"destinations.reachable": "error"}
    assert levels(look(site, "destinations", quick=True), "destinations.reachable") == {"note"}

    with SegmentStub(port=port):
        assert bad(look(site, "destinations")) == {}


def test_a_destination_is_probed_through_the_proxy_of_its_requests(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = site.segment_stub.url
    monkeypatch.setenv("http_proxy", proxy)
    monkeypatch.delenv("no_proxy", raising=False)
    found = reached("http://segment.invalid")
    assert found["destinations.reachable"].level == "ok"
    assert f"through the proxy {proxy.removeprefix('http://')}" in found["destinations.reachable"].what


# Workers and deliveries


def test_a_destination_that_no_worker_serves_is_an_error(site: Site) -> None:
    worker = site.worker()
    found = wait_for(lambda: not bad(found := look(site, "workers")) and found, PATIENCE, what="the worker to answer")
    for check in ("answer", "queues", "version", "clock", "visibility", "refused", "others"):
        assert levels(found, f"workers.{check}") == {"ok"}, found

    more = {"DISPATCHER_DESTINATIONS__OTHER__TYPE": "segment", "DISPATCHER_DESTINATIONS__OTHER__WRITE_KEY": "a-key"}
    wait_for(
        lambda: bad(look(site, "workers", **more)) == {"workers.queues": "error"}, PATIENCE, what="the worker to answer"
    )
    worker.stop()


def test_dead_letters_are_a_warning_until_they_are_dropped(site: Site) -> None:
    letter = DeadEvent("not_encodable", "data['basket'] has no JSON form", b"{}")
    site.store.put([Put(destination=NOT_TAKEN, journal="1-a", start=0, end=8, dead=[letter])])
    assert bad(look(site, "deliveries")) == {"deliveries.dead": "warning"}

    assert CliRunner().invoke(main, ["dead", "drop", NOT_TAKEN, "--yes"], env=site.environ).exit_code == 0
    assert bad(look(site, "deliveries")) == {}


# Flower


def test_a_flower_without_a_login_is_a_finding(site: Site) -> None:
    with socket.socket() as one, socket.socket() as other:
        for listener in (one, other):
            listener.bind(("127.0.0.1", 0))
        open_port, closed_port = one.getsockname()[1], other.getsockname()[1]
    assert probe(f"http://127.0.0.1:{open_port}").level == "note"
    command = [sys.executable, "-m", "celery", "-A", "tasks", "flower", "--address=127.0.0.1", f"--port={open_port}"]
    site.processes.start(*command, FLOWER_UNAUTHENTICATED_API="true")
    site.processes.dispatcher("flower", "--port", str(closed_port), FLOWER_BASIC_AUTH="ops:Zk3-tR9_pQ")

    for port, level in ((open_port, "warning"), (closed_port, "ok")):
        finding = wait_for(
            lambda port=port: (found := probe(f"http://127.0.0.1:{port}")).level != "note" and found,
            PATIENCE,
            every=0.2,
            what="Flower to answer",
        )
        assert (finding.check, finding.level) == ("flower.login", level)


def test_another_server_on_the_port_of_flower_is_ignored(site: Site) -> None:
    assert probe(site.segment_stub.url).level in ("note", "ok")


# The command


def test_the_command_exits_1_for_errors_and_shows_no_credential(site: Site) -> None:
    site.environ |= FIT | {"DISPATCHER_DESTINATIONS__SEGMENT__WRITE_KEY": "your-key"}

    done = site.processes.run("doctor", "--only", "redis", "--only", "destinations")
    assert done.returncode == 1, done.stderr
    assert "✓ redis.reachable" in done.stdout
    assert "✗ destinations.credentials" in done.stdout
    assert "→ set DISPATCHER_DESTINATIONS__SEGMENT__WRITE_KEY" in done.stdout
    assert "1 error" in done.stdout

    site.environ["DISPATCHER_DESTINATIONS__SEGMENT__WRITE_KEY"] = "hunter2"
    shown = doctor(site, "--only", "redis", "--only", "destinations", code=0)
    assert "0 errors" in shown
    assert "hunter2" not in shown


def test_a_world_readable_settings_file_with_a_key_is_an_error(site: Site) -> None:
    site.allow(["shop.*"], more='write_key = "hunter2"\n')
    site.settings_file.chmod(0o644)
    assert "hunter2" not in doctor(site, "--only", "settings", code=1)

    site.settings_file.chmod(0o640)
    doctor(site, "--only", "settings", code=0)


def test_warnings_fail_only_on_request(site: Site) -> None:
    site.log.touch(mode=0o644)
    site.log.chmod(0o644)
    report: dict[str, Any] = json.loads(doctor(site, "--only", "log", "--json", code=0))
    assert (report["ok"], report["counts"]["error"]) == (True, 0)
    (warning,) = [finding for finding in report["findings"] if finding["check"] == "log.permissions"]
    assert warning["level"] == "warning"
    assert warning["remedy"] == f"run `chmod o-rwx {site.log}`"

    report = json.loads(doctor(site, "--only", "log", "--json", "--strict", code=1))
    assert report["ok"] is False


def test_wrong_settings_are_findings_instead_of_exit_code_3(site: Site) -> None:
    site.environ["DISPATCHER_OUTBOX__MAX_BITES"] = "1"
    assert "DISPATCHER_OUTBOX__MAX_BYTES" in doctor(site, "--json", code=1)


def test_the_doctor_changes_nothing(site: Site) -> None:
    site.leave_behind(3)
    before = state_of(site)

    found: dict[str, Any] = json.loads(doctor(site, "--json", code=1))

    assert state_of(site) == before
    errors = {finding["check"] for finding in found["findings"] if finding["level"] == "error"}
    assert {"workers.answer", "outbox.relayed"} <= errors


def state_of(site: Site) -> dict[str, object]:
    """All files, and all keys in Redis except those of Celery's remote control."""
    keys = [key for key in site.redis.call("KEYS", "*") if not key.startswith(b"_kombu.")]
    return {"keys": keys} | {
        str(path): path.read_bytes()
        for path in site.directory.rglob("*")
        if path.is_file() and not path.is_relative_to(site.directory / "output")
    }
