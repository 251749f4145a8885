"""The demo: ``shop`` is a small web app that emits events; ``python -m dispatcher.demo`` shows where they land."""
