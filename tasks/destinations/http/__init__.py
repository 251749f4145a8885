"""What every HTTP destination is made of: write ``HttpDestination``'s five parts, and the rest is done here."""

from dispatcher.tasks.destinations.http.client import Answer, NoAnswer, Request
from dispatcher.tasks.destinations.http.destination import HttpDestination, HttpOptions, Limits

__all__ = ["Answer", "HttpDestination", "HttpOptions", "Limits", "NoAnswer", "Request"]
