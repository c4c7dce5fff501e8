"""One step of a running job, as its row has it or will have it."""

from __future__ import annotations

import dataclasses
import datetime
import time
from typing import Any

from .. import serialization
from ..conf import get_settings
from ..define.envelopes import opened_text, stored_text
from ..define.rebuilt_errors import built, loaded_class
from ..exceptions import JobFailed
from ..models import Step
from ..values import Failure

State = Step.State
_SAME = frozenset((int, bool, str, type(None)))


@dataclasses.dataclass(slots=True)
class Recorded:
    """A step under its key.

    ``began`` and ``ended`` are of :func:`time.monotonic`: the database subtracts their ages from
    its own clock. ``began`` is None if an earlier run began it. ``text`` is the result as JSON, as
    rows have it.
    """

    key: str
    position: int
    kind: str
    function: str = ""
    state: str = ""
    text: str | None = dataclasses.field(default=None, repr=False)
    data: dict[str, Any] | None = dataclasses.field(default=None, repr=False)
    #: How often it raised in this round; a FAILED step begins a new one.
    tries: int = 0
    has_row: bool = False
    #: Until when the job is suspended; None if nothing says so.
    wake_at: datetime.datetime | None = None
    #: Whether its ``wake_at`` was over when the run began.
    is_due: bool = False
    began: float | None = dataclasses.field(default_factory=time.monotonic)
    ended: float | None = None
    failure: Failure | None = dataclasses.field(default=None, repr=False)
    #: Whether ``text`` is encrypted when it becomes DONE.
    encrypts: bool = False

    def value(self) -> Any:
        """Return the result: a new object each time, which JSON can hold.

        Raises ``EncryptionError`` when no key opens it.
        """
        return None if self.text is None else serialization.loads(opened_text(self.text))

    @property
    def is_over(self) -> bool:
        """Whether no run does it again."""
        return self.state in (State.DONE, State.CAUGHT)

    def error(self) -> Exception:
        """Return the exception of a CAUGHT step, of its class if this process has that."""
        failure = self.failure or Failure("", "")
        known = loaded_class(failure.error_class)
        stored = (self.data or {}).get("error_args")
        error = None if known is None else built(known, stored)
        if isinstance(error, Exception):
            return error
        return JobFailed(failure.error_class, failure.message, failure.traceback)

    def caught(self) -> None:
        """Become CAUGHT, after FAILED: the body goes on."""
        self.state = State.CAUGHT
        if self.failure is not None and self.failure.args is not None:
            args = serialization.loads(self.failure.args)
            self.data = {**(self.data or {}), "error_args": args}

    def done(self, value: Any) -> Any:
        """Become DONE with *value*, and return it as every later run gets it.

        Raises ``ArgumentError`` for a value that is no JSON or too large.
        """
        text = None
        if value is not None:
            limit = get_settings().max_result_bytes
            where = f"the result of step {self.key!r}"
            text = serialization.dumps(value, where=where, max_bytes=limit)
            text = stored_text(text, encrypt=self.encrypts)
        self.text, self.state, self.failure, self.ended = text, State.DONE, None, time.monotonic()
        if self.data is not None:
            self.data.pop("error_args", None)
        # JSON gives these back as they are.
        return value if type(value) in _SAME else self.value()

    def failed(self, failure: Failure, state: str = State.FAILED) -> None:
        """Become FAILED, or RETRY, with one more try."""
        self.tries, self.state = self.tries + 1, state
        self.text, self.failure, self.ended = None, failure, time.monotonic()
