"""The app that sets the default tracker up from Django's settings: ``INSTALLED_APPS = ["eventtracking.django"]``."""

from dispatcher.contrib.eventtracking.django.django_tracker import DjangoTracker

__all__ = ["DjangoTracker"]
