"""Exceptions of settings."""


class ImproperlyConfigured(Exception):  # noqa: N818 - the name of event-tracking's API
    """A processor was given options that it cannot use."""
