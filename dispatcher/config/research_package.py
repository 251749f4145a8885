"""The table of research packages: which partner gets which lines, and to which keys they are encrypted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from dispatcher.config.base import Table

#: A part of the names of files.
_Word = Annotated[str, StringConstraints(pattern=r"^\w[\w.\-]*$")]


class OrganisationSettings(Table):
    """A partner who gets a package."""

    other_names: tuple[str, ...] = Field(
        (), description="Other organisations, as course keys have them, whose events belong to it."
    )
    courses: tuple[str, ...] = Field((), description="The only courses whose events it gets. Empty: all of its own.")
    recipients: tuple[str, ...] = Field(
        (), description="Files in `keys_directory` with the public keys of those who may read its package."
    )


class ResearchPackageSettings(Table):
    """`dispatcher export research-package`: each partner's lines of the tracking log."""

    rules: Literal["default", "edx"] = Field(
        "default",
        description="`edx`: as edX chose lines, to the letter; `default`: without what that loses today.",
    )
    site: _Word = Field("prod", description="The site's word in the names of files.")
    excluded_hosts: tuple[str, ...] | None = Field(
        None, description="Events of these hosts are in no package. Absent: none; with `edx`, studio.edx.org and ''."
    )
    keys_directory: Path | None = Field(None, description="Where public keys are. Absent: nothing can be encrypted.")
    master_key: str | None = Field(None, description="A key to which all packages are encrypted too.")
    organisations: Mapping[_Word, OrganisationSettings] = Field(
        default_factory=dict, description="A table for each partner, under the name that course keys have."
    )
