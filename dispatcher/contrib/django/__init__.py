"""Django: ``INSTALLED_APPS += ["dispatcher.contrib.django"]``, and the middleware behind Django's own for users.

MIDDLEWARE += ["dispatcher.contrib.django.RequestContextMiddleware"]
"""

from dispatcher.contrib.django.commit import emit_on_commit
from dispatcher.contrib.django.middleware import RequestContextMiddleware
from dispatcher.contrib.django.user import bind_user

__all__ = ["RequestContextMiddleware", "bind_user", "emit_on_commit"]
