"""What every HTTP destination is made of: write ``HttpDestination``'s five parts, and the rest is done here."""

from dispatcher.tasks.destinations.http.base import HttpDestination, HttpOptions, Limits
from dispatcher.tasks.destinations.http.client import Answer, NoAnswer, Request

__all__ = ["Answer", "HttpDestination", "HttpOptions", "Limits", "NoAnswer", "Request"]
