"""Web apps: one app in each framework, asked by the same browser; each path is bare, or emits one event.

Each module has ``open_app(name, emitter, emit)``, which returns a function that answers so many requests for a path.
event-tracking has no middleware: the platform that it was made for binds the context itself, with the keys of ours.
"""
