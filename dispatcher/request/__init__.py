"""What an HTTP request says of who sent it, whatever took it: the collector, Django, an ASGI or a WSGI server."""
