"""The Celery app of workers, producers and the doctor: Celery's, which heeds no variables of another app.

A project with a Celery or a Django of its own may have CELERY_BROKER_URL, CELERY_RESULT_BACKEND, CELERY_CONFIG_MODULE,
CELERY_LOADER or DJANGO_SETTINGS_MODULE in the environment. Celery would put what they name in place of our broker and
options, and the current directory on the path.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from celery import Celery
from celery.loaders.app import AppLoader


class Loader(AppLoader):
    """Reads no configuration, and imports from where Python itself does.

    Overrides, of Celery 5.7: import_from_cwd, read_configuration.
    """

    def import_from_cwd(self, module: str, imp: object = None, package: str | None = None) -> object:
        return import_module(module, package)

    def read_configuration(self, env: str = "") -> dict[str, Any]:
        return {}


class CeleryApp(Celery):
    """An app that connects to one broker, and is nobody's current app. Connects to nothing yet.

    Overrides, of Celery 5.7: connection_for_read, connection_for_write, through which all its connections come.

    Args:
        name: What Celery's logs call it.
        broker: As kombu spells it (``urls.kombu_url``).
        options: As Celery takes them.
    """

    def __init__(self, name: str, *, broker: str, **options: Any) -> None:
        self._broker = broker
        options |= {"loader": Loader, "fixups": (), "backend": "disabled", "set_as_current": False}
        super().__init__(name, broker=broker, **options)
        # The argument alone gives way to CELERY_RESULT_BACKEND.
        self.backend_cls = "disabled"

    def connection_for_read(self, url: object = None, **options: Any) -> Any:
        return super().connection_for_read(self._broker, **options)

    def connection_for_write(self, url: object = None, **options: Any) -> Any:
        return super().connection_for_write(self._broker, **options)
