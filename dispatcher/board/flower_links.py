"""Flower links: on Flower's pages, the way back to the board and to the destination of a task."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

from tornado.escape import xhtml_escape
from tornado.template import Loader, Template

logger = logging.getLogger(__name__)

# What stands in Flower's templates, and before or behind which the link goes.
_NAVIGATION: Final = '<ul class="app-nav navbar-nav">'
_TASK_HEADING: Final = '<p class="page-eyebrow">Task details</p>'
# A task's id is its destination, a full stop, and its batch.
_DESTINATION: Final = "{{ url_escape(task.uuid.rpartition('.')[0]) }}"


class BoardLinks(Loader):
    """Loads Flower's own templates, with links to the board. A Flower that looks otherwise goes without them.

    Args:
        directory: Where the templates are.
        url: Of the board, without a login.
    """

    def __init__(self, directory: str, url: str) -> None:
        super().__init__(directory)
        # Braces would be taken for the template's own.
        address = xhtml_escape(url.rstrip("/")).replace("{", "%7B") + "/"
        self._added = {
            "navbar.html": (
                _NAVIGATION,
                f'{_NAVIGATION}<li class="nav-item"><a class="nav-link" href="{address}">Board</a></li>',
            ),
            "task.html": (
                _TASK_HEADING,
                f'{_TASK_HEADING}<a href="{address}#destination={_DESTINATION}">The destination on the board</a>',
            ),
        }

    def _create_template(self, name: str) -> Template:
        if name not in self._added:
            template: Template = super()._create_template(name)
            return template
        text = Path(self.root, name).read_text(encoding="utf-8")
        place, replacement = self._added[name]
        if place not in text:
            logger.warning("this Flower has no place for a link to the board in %s", name)
        return Template(text.replace(place, replacement, 1), name=name, loader=self)
