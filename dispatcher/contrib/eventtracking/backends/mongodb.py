"""MongoDB: events as documents, in the calling thread. dispatcher itself has no destination for it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from dispatcher.secrecy.foreign_error import describe_error

try:
    from bson.errors import BSONError
    from pymongo import DESCENDING, MongoClient
    from pymongo.errors import PyMongoError
except ImportError as error:
    raise ImportError(
        "MongoBackend needs the package pymongo: install it, or write a destination of your own, which does not "
        "wait in the web process (docs/how-to/own-destination.md)",
        name="pymongo",
    ) from error

log = logging.getLogger(__name__)


class MongoBackend:
    """Inserts each event into a collection. Blocks as long as MongoDB takes, and while it is away.

    Args:
        host: "localhost", if not given.
        port: 27017, if not given.
        user: Whoever logs in; nobody, if not given.
        password: Theirs.
        database: "eventtracking", if not given.
        collection: "events", if not given.
        extra: More arguments of ``pymongo.MongoClient``. ``w`` is 0, if not given: MongoDB confirms nothing.
    """

    leaves_event_alone = True

    def __init__(self, **kwargs: Any) -> None:
        extra = {"w": 0, "tz_aware": True, **kwargs.get("extra", {})}
        user, password = kwargs.get("user", ""), kwargs.get("password", "")
        if user or password:
            extra = {"username": user, "password": password, "authSource": self._database_name(kwargs), **extra}
        self.connection: Any = MongoClient(
            host=kwargs.get("host", "localhost"), port=kwargs.get("port", 27017), **extra
        )
        self.database = self.connection[self._database_name(kwargs)]
        self.collection = self.database[kwargs.get("collection", "events")]
        self._has_indexes = False

    @staticmethod
    def _database_name(kwargs: Mapping[str, Any]) -> str:
        return str(kwargs.get("database", "eventtracking"))

    def send(self, event: Mapping[str, Any]) -> None:
        """Insert an event. What MongoDB raises is logged, and the event is lost."""
        try:
            if not self._has_indexes:
                self.collection.create_index([("timestamp", DESCENDING)])
                self.collection.create_index("name")
                self._has_indexes = True
            # A copy, since pymongo puts its id into what it gets.
            self.collection.insert_one(dict(event))
        except (PyMongoError, BSONError) as error:
            log.error("MongoDB did not take an event, which is lost: %s", describe_error(error))
