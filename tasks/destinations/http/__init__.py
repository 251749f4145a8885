"""The base of every HTTP destination: a vendor's module subclasses ``HttpDestination`` and defines its five parts."""

from dispatcher.tasks.destinations.http.answer import Answer
from dispatcher.tasks.destinations.http.base import HttpDestination, HttpOptions, Limits
from dispatcher.tasks.destinations.http.client import NoAnswer
from dispatcher.tasks.destinations.http.request import Request

__all__ = ["Answer", "HttpDestination", "HttpOptions", "Limits", "NoAnswer", "Request"]
