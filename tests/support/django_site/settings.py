"""Settings of the project."""

from __future__ import annotations

from django.http import HttpRequest

SECRET_KEY = "a secret of the site"
ROOT_URLCONF = "tests.support.django_site.views"
ALLOWED_HOSTS = ["testserver", "shop.example"]
USE_TZ = True
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "dispatcher.contrib.django",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "dispatcher.contrib.django.RequestContextMiddleware",
]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DISPATCHER = {"SETTINGS": {"outbox": {"storage": "memory"}, "collector": {"mobile_secret": "hook"}}}


def context_of(request: HttpRequest) -> dict[str, object]:
    if request.GET.get("hook") == "raises":
        raise RuntimeError("of the site")
    return {"course_id": "course-v1:a+b+c", "org_id": "a"}


async def context_in_loop(request: HttpRequest) -> dict[str, object]:
    return context_of(request)
