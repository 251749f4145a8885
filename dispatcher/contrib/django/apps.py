"""Apps: what happens once as Django starts."""

from __future__ import annotations

from django.apps import AppConfig
from django.core import checks

import dispatcher


class DispatcherConfig(AppConfig):
    """Sets the default tracker up where ``DISPATCHER`` says how, and follows logins and logouts."""

    name = "dispatcher.contrib.django"
    label = "dispatcher"
    verbose_name = "dispatcher"

    def ready(self) -> None:
        """Called by Django once all apps are there. Wrong settings are left to the checks and to the middleware."""
        from django.contrib.auth import signals  # noqa: PLC0415

        from dispatcher.contrib.django.checks import check_middleware, check_names, check_settings  # noqa: PLC0415
        from dispatcher.contrib.django.conf import read_configuration  # noqa: PLC0415
        from dispatcher.contrib.django.user import on_login, on_logout  # noqa: PLC0415

        checks.register(check_settings, "dispatcher")
        checks.register(check_names, "dispatcher")
        checks.register(check_middleware, "dispatcher")
        signals.user_logged_in.connect(on_login, dispatch_uid="dispatcher.login")
        signals.user_logged_out.connect(on_logout, dispatch_uid="dispatcher.logout")
        read = read_configuration()
        if read.overrides and not read.problems:
            try:
                dispatcher.configure(**read.overrides)
            except dispatcher.SettingsError:
                # `manage.py check` names each; the first event logs it, as it does without Django.
                return
