"""The decision of a person, as a running job gets it."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping
from typing import Any

from .approval_form import read_answers


@dataclasses.dataclass(frozen=True, slots=True)
class Decision:
    """The decision of a person; ``self.ask()`` returns it."""

    #: One of the choices.
    choice: str
    comment: str = dataclasses.field(default="", repr=False)
    #: The user's name, or what a signed link or code gave in its place.
    by: str = ""
    at: datetime.datetime | None = None
    #: The answers to the fields of ``form=``, with their types.
    form: Mapping[str, Any] = dataclasses.field(default_factory=dict, repr=False)

    @classmethod
    def read(cls, stored: Mapping[str, Any], form: Mapping[str, Any]) -> Decision:
        """Return the decision that a step has as JSON; *form* has the fields as they are stored."""
        return cls(
            stored["choice"],
            stored["comment"],
            stored["by"],
            datetime.datetime.fromisoformat(stored["at"]),
            read_answers(form, stored["form"]),
        )
