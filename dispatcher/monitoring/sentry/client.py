"""Client: Sentry's SDK, set up for dispatcher's own processes. Only ``start`` imports this: it needs sentry-sdk."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sentry_sdk
from sentry_sdk.integrations.atexit import AtexitIntegration
from sentry_sdk.integrations.excepthook import ExcepthookIntegration

from dispatcher.monitoring.sentry.scrubbing import Scrubber, no_breadcrumb
from dispatcher.version import __version__

if TYPE_CHECKING:
    from dispatcher.config import SentrySettings


def init(settings: SentrySettings, *, environment: str, role: str) -> None:
    """Start the SDK for this process. Sends nothing yet; its thread starts at the first event.

    Args:
        settings: With a DSN.
        environment: Used without ``sentry.environment``.
        role: The part that the process plays, a tag of each event.
    """
    assert settings.dsn is not None
    scrubber = Scrubber(role=role, server_name=settings.server_name)
    sentry_sdk.init(
        dsn=settings.dsn.get_secret_value(),
        environment=environment if settings.environment is None else settings.environment,
        release=f"dispatcher@{__version__}" if settings.release is None else settings.release,
        # Nothing is patched: the integration for Celery alone costs each task 170 to 530 µs.
        default_integrations=False,
        auto_enabling_integrations=False,
        integrations=[ExcepthookIntegration(), AtexitIntegration(callback=_print_nothing)],
        traces_sample_rate=settings.traces_sample_rate,
        before_send=scrubber.event,
        before_send_transaction=scrubber.transaction,
        before_breadcrumb=no_breadcrumb,
        # Scrubbing would remove all of this, and the SDK's own variables could otherwise switch it on. Personal data is
        # off by default, and newer versions warn of any use of send_default_pii.
        max_breadcrumbs=0,
        include_local_variables=False,
        include_source_context=False,
        max_request_body_size="never",
        attach_stacktrace=False,
        auto_session_tracking=False,
        send_client_reports=False,
        debug=False,
        spotlight=False,
    )


def _print_nothing(_pending: int, _timeout: float) -> None:
    """Replaces the SDK's message on the terminal while it sends, for up to two seconds, what is left at the end."""
