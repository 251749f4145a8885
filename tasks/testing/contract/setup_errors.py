"""What is wrong on this side of the connection waits for whoever mends it, and is not taken for the vendor's doing."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import pytest
from pydantic import ValidationError

from dispatcher.tasks.destinations.http import HttpDestination
from dispatcher.tasks.testing.contract.subject import Subject, batch_of, errors_of, fates

# A name that no host will ever have (RFC 6761 §6.4). Nothing is sent there.
_ELSEWHERE: Final = "dispatcher-contract.invalid"
#: URLs of proxies that cannot be used.
_PROXIES: Final = ("ftp://proxy.invalid:21", "http://", "http://proxy.invalid:99999", "http://:hidden-word@")


class SetupErrorsContract(Subject):
    """Tests of settings, files and packages of this machine that keep requests from being sent."""

    @pytest.mark.parametrize("proxy", _PROXIES)
    def test_a_proxy_that_cannot_be_used_is_named(self, proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HTTP_PROXY", proxy)

        errors = self._setup_errors(f"http://{_ELSEWHERE}")

        assert "HTTP_PROXY" in errors
        assert "hidden-word" not in errors

    def test_a_socks_proxy_without_its_package_says_what_to_install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ALL_PROXY", "socks5h://user:hidden-word@127.0.0.1:9")
        monkeypatch.setitem(sys.modules, "socks", None)

        errors = self._setup_errors(f"http://{_ELSEWHERE}")

        assert "pysocks" in errors.lower()
        assert "hidden-word" not in errors

    @pytest.mark.parametrize("content", [None, "no certificate"], ids=["missing", "other"])
    def test_a_file_of_certificates_that_cannot_be_read_is_named(
        self, content: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        if content is not None:
            (tmp_path / "ca.pem").write_text(content)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))

        # The file is read once the connection is there, which a server on this machine takes.
        with self.vendor() as server:
            errors = self._setup_errors(server.url.replace("http://", "https://"))

            assert list(server.calls) == []
        assert "REQUESTS_CA_BUNDLE" in errors
        assert "ca.pem" in errors

    @pytest.mark.parametrize("host", ["a" * 70 + ".example", "a..example"])
    def test_a_host_that_cannot_be_one_is_a_setup_error(self, host: str) -> None:
        assert "host" in self._setup_errors(f"http://{host}")

    def _setup_errors(self, url: str) -> str:
        """The errors of events that cannot be sent to a URL; with at_most_once, for which it matters that none was."""
        if not issubclass(self.destination_class(), HttpDestination):
            pytest.skip("it sends requests in a way of its own")
        try:
            with self.open_destination(url, at_most_once=True) as destination:
                outcomes = destination.deliver(batch_of(self.events(2)))
        except ValidationError as error:
            return f"the options refuse it, host and all: {error}"
        assert fates(outcomes) == ["setup", "setup"], errors_of(outcomes)
        return errors_of(outcomes)
