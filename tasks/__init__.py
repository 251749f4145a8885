"""What a worker runs: ``dispatcher worker``, or ``celery -A dispatcher.tasks worker``.

The folder is ``dispatcher.tasks`` to everything that imports it, by a link in a checkout and by its place in a wheel.
"""

if __name__ == "tasks":
    # `celery -A tasks worker` in a checkout: the same modules, and not a second copy of them under another name.
    import sys
    from importlib import import_module

    sys.modules["tasks"] = import_module("dispatcher.tasks")
    sys.modules["tasks.celery"] = import_module("dispatcher.tasks.celery")
