"""Options are a frozen, validated model that shows no credential, and the type is found by its name."""

from __future__ import annotations

import json

import pytest
from pydantic import SecretStr, ValidationError

from dispatcher.config import Settings
from dispatcher.destinations.base import Destination
from dispatcher.destinations.build import build
from dispatcher.destinations.options import check_options, mask_settings
from dispatcher.destinations.types import load_type
from dispatcher.tasks.testing.contract.subject import NAME, Subject, batch_of, fates, leaks
from dispatcher.tasks.testing.vendor import Vendor


class SettingsContract(Subject):
    """Tests of a destination's type and options."""

    def test_options_cannot_be_changed(self, server: Vendor) -> None:
        options = self.make_options(server.url)

        for name in type(options).model_fields:
            with pytest.raises(ValidationError):
                setattr(options, name, getattr(options, name))

    def test_an_unknown_option_is_refused(self, server: Vendor) -> None:
        with pytest.raises(ValidationError, match="no_option_of_anybody"):
            self.make_options(server.url, no_option_of_anybody=1)

    def test_every_option_says_what_it_means(self) -> None:
        fields = self.destination_class().Options.model_fields

        assert [name for name, field in fields.items() if not field.description] == []

    def test_options_show_no_credential(self, server: Vendor) -> None:
        options = self.make_options(server.url)

        for text in (repr(options), str(options), options.model_dump_json(), repr(options.model_dump())):
            assert not leaks(text, options)

    def test_an_error_in_the_options_repeats_no_credential(self, server: Vendor) -> None:
        options = self.make_options(server.url)
        for name in type(options).model_fields:
            given = getattr(options, name)
            if isinstance(given, SecretStr):
                with pytest.raises(ValidationError) as wrong:
                    self.make_options(server.url, **{name: [given.get_secret_value()]})

                assert not leaks(str(wrong.value), options)

    def test_what_sticks_to_a_credential_is_taken_off_and_quotes_are_refused(self, server: Vendor) -> None:
        options = self.make_options(server.url)
        for name in type(options).model_fields:
            given = getattr(options, name)
            if isinstance(given, SecretStr):
                secret = given.get_secret_value()
                pasted = self.make_options(server.url, **{name: f"\ufeff {secret}\u200b\r\n"})
                assert getattr(pasted, name).get_secret_value() == secret
                for quoted in (f'"{secret}"', f"'{secret}'", f"\u201c{secret}\u201d", f"{secret}\n{secret}"):
                    with pytest.raises(ValidationError) as wrong:
                        self.make_options(server.url, **{name: quoted})
                    assert not leaks(str(wrong.value), options)

    def test_without_a_required_setting_events_wait_and_its_variable_is_named(self, server: Vendor) -> None:
        for name in self.required_options(server.url):
            with self.open_destination(server.url, **{name: None}) as destination:
                outcomes = destination.deliver(batch_of(self.events(2)))
                error = getattr(outcomes[0], "error", "")

            assert fates(outcomes) == ["setup", "setup"], f"without {name}"
            assert f"DISPATCHER_DESTINATIONS__{NAME.upper()}__{name.upper()}" in error
        assert list(server.calls) == []

    def test_the_type_is_found_by_its_name_in_settings(self, server: Vendor) -> None:
        self._check_type(self.type, server)

    def test_the_type_is_found_by_module_and_class_in_settings(self, server: Vendor) -> None:
        destination_class = self.destination_class()
        path = f"{destination_class.__module__}:{destination_class.__qualname__}"

        assert load_type(path) is destination_class
        self._check_type(path, server)

    def test_a_destination_may_be_closed_twice(self, server: Vendor) -> None:
        with self.open_destination(server.url) as destination:
            assert fates(destination.deliver(batch_of(self.events(2)))) == ["delivered"] * 2

            destination.close()
            destination.close()

    def _check_type(self, type_name: str, server: Vendor) -> None:
        settings = Settings.model_validate(
            {"destinations": {NAME: {"type": type_name, "events": ["*"], **self.options(server.url)}}}
        )
        table = settings.destinations[NAME]
        assert not leaks(json.dumps(mask_settings(settings), default=str), self.make_options(server.url))
        assert check_options(settings) == []

        destination = build(NAME, table)
        assert isinstance(destination, Destination)
        try:
            assert fates(destination.deliver(batch_of(self.events(1)))) == ["delivered"]
        finally:
            destination.close()
