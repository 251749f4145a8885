"""The MongoDB backend of event-tracking's API. Here is no MongoDB, so its client is looked at, and connects nowhere."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("pymongo")
from pymongo.errors import ConnectionFailure  # type: ignore[import-not-found, unused-ignore]

from dispatcher.contrib.eventtracking.backends.mongodb import MongoBackend


class Collection:
    """Keeps what it is asked for, and puts an id into documents as pymongo does."""

    def __init__(self, error: Exception | None = None) -> None:
        self.indexes: list[Any] = []
        self.documents: list[dict[str, Any]] = []
        self.error = error

    def create_index(self, keys: Any) -> None:
        self.indexes.append(keys)

    def insert_one(self, document: dict[str, Any]) -> None:
        if self.error is not None:
            raise self.error
        document["_id"] = len(self.documents)
        self.documents.append(document)


def test_user_and_password_reach_the_client() -> None:
    backend = MongoBackend(host="db.example", user="mia", password="s", database="log", extra={"connect": False})
    credentials = backend.connection.options.pool_options._credentials
    assert (credentials.username, credentials.password, credentials.source) == ("mia", "s", "log")
    assert (backend.collection.full_name, backend.collection.write_concern.document) == ("log.events", {"w": 0})
    assert backend.collection.codec_options.tz_aware


def test_events_are_inserted_and_stay_as_they_are() -> None:
    backend = MongoBackend(extra={"connect": False})
    backend.collection = collection = Collection()
    events = [{"name": "a"}, {"name": "b"}]
    for event in events:
        backend.send(event)
    assert events == [{"name": "a"}, {"name": "b"}]
    assert collection.documents == [{"name": "a", "_id": 0}, {"name": "b", "_id": 1}]
    assert collection.indexes == [[("timestamp", -1)], "name"]


def test_an_event_that_is_not_taken_is_said(caplog: pytest.LogCaptureFixture) -> None:
    backend = MongoBackend(extra={"connect": False})
    backend.collection = Collection(ConnectionFailure("mia:s@db.example refused"))
    backend.send({"name": "a"})
    assert "MongoDB did not take an event, which is lost: ConnectionFailure" in caplog.text
    assert "mia" not in caplog.text
