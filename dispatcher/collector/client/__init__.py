"""The browser's client: its TypeScript sources in src/, and what esbuild makes of them in dist/, which is checked in.

``files`` serves dist/. What the client sends, as ``text/plain`` so that no browser asks for leave first (a preflight)::

    {"key": "web", "sentAt": "2026-11-28T10:00:00.000Z", "dropped": {"size": 1}, "events": [
        {"id": "…", "timestamp": "…", "name": "book.read", "data": {…}, "page": "https://…", "context": {…}},
        {"id": "…", "timestamp": "…", "type": "track", "name": "Book Read", "data": {…}, "anonymousId": "…", …}]}

- An item without a type, or with ``emit`` (as the stub names it), is an event of the tracking log. ``track``, ``page``
  and ``identify`` are Segment's calls: ``name`` is the event's name, the page's name or the user's id, ``data`` the
  properties or traits; beside them ``userId``, ``anonymousId``, ``category``, ``integrations``.
- ``timestamp`` and ``sentAt`` are of one clock, the browser's.
- ``dropped`` counts by reason what this browser gave up: ``size`` (more than 32 KiB), ``full`` (more than 500 events or
  512 KiB unsent), ``old`` (seven days), ``refused`` (answered 400 or 413 alone).
- ``context`` may have ``consent.categoryPreferences`` as Segment's, ``webdriver`` (a browser that a program drives) and
  ``courserun_key`` (Open edX). ``via`` and ``script`` tell which old call an event came by, and from which script.
- An item of the stub may have ``o``, the third argument of its call.

The answer that deletes events in the browser is a 2xx whose JSON has ``accepted``, a number. 400 and 413 make the
client send halves, until one event alone is refused and dropped. Everything else is tried again: after
``Retry-After`` seconds and at least 0.1 s, at most five minutes. One event may come
several times: its id stays the same.
"""
