"""Watches the session of a connection that jobs use, and closes it when a job changed it.

The server's or the driver's own word tells whether a transaction is open. Statements tell whether
a session was changed. A session that was changed is closed before another attempt can use it.
"""

from __future__ import annotations

import contextlib
import logging
import select
import threading
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, ClassVar

from django.db import Error
from django.db.backends.base.base import BaseDatabaseWrapper

from . import statements

_log = logging.getLogger("django_jobs.worker")

#: The key under which a connection, and the driver's own, have their :class:`Session`.
SESSION = "_django_jobs_session"
#: A session that lay idle for longer is asked with a statement before the next attempt uses it.
IDLE_SECONDS = 5.0
#: States in which no session is handed on.
TRANSACTION, INTERRUPTED, CHANGED, CLOSED = "transaction", "interrupted", "changed", "closed"


class Attempt:
    """The changes that one attempt at a job made to the sessions that it used."""

    sessions: tuple[Session, ...] = ()
    #: Alias of the database on which it left a transaction open.
    left_open = ""
    #: (alias, cause): what ended the transaction of atomic() before its time.
    ended: tuple[str, str] = ("", "")


#: The attempt whose code runs; None outside of a worker's jobs. A job that runs inside another one
#: (eager) belongs to the outer one's attempt.
current: ContextVar[Attempt | None] = ContextVar("django_jobs_attempt", default=None)


class _Here(threading.local):
    sessions: tuple[Session, ...] = ()


#: The sessions of the connections that this thread uses.
here = _Here()
_distrusted_at = 0.0


def distrust() -> None:
    """Check every session with a statement before its next use, because the database was away."""
    global _distrusted_at
    _distrusted_at = time.monotonic()


class Session:
    """The session of one connection; this base class knows only Django's flags."""

    rules: ClassVar[statements.Rules] = statements.OTHERS

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection
        self.thread = threading.get_ident()
        #: None when the last attempt left it clean: whatever it is in now is the next one's doing.
        self.user: Attempt | None = None
        #: Why no other attempt may have the session, or "".
        self.mark = ""
        self.used_at = 0.0
        #: True while Django executes a statement: others go past it.
        self.inside = False
        #: Whether Django takes it from a pool of the driver's.
        self.is_pooled = bool(connection.settings_dict["OPTIONS"].get("pool"))
        self._raw: Any = None
        self._poll: Any = None
        connection._django_jobs_session = self  # type: ignore[attr-defined]
        connection.execute_wrappers.append(self._execute)
        self._health_check = vars(connection).get("close_if_health_check_failed")
        # Django asks here before each cursor whether the session is fit to be used.
        connection.close_if_health_check_failed = self._before_cursor  # type: ignore[method-assign]
        here.sessions += (self,)

    def opened(self) -> None:
        """Begin anew: Django has just opened a session."""
        self._raw = self.connection.connection
        self.mark, self.used_at = "", time.monotonic()
        self._poll = None
        self._take(current.get())
        self._watch(self._raw)

    def release(self) -> None:
        """Leave the connection as it was before it was watched."""
        connection: Any = self.connection
        connection.execute_wrappers.remove(self._execute)
        del connection._django_jobs_session, connection.close_if_health_check_failed
        if self._health_check is not None:
            connection.close_if_health_check_failed = self._health_check
        if self._raw is not None:
            self._unwatch(self._raw)

    def _take(self, attempt: Attempt | None) -> None:
        self.user = attempt
        if attempt is not None and self not in attempt.sessions:
            attempt.sessions += (self,)

    def _before_cursor(self) -> None:
        raw = self.connection.connection
        if raw is None or raw is not self._raw:
            return  # none, or it is being opened
        attempt = current.get()
        if attempt is not self.user:
            self._hand_over(attempt)
        elif self.mark is INTERRUPTED and not self.connection.in_atomic_block:
            # The body tidies up after its limit: it gets a session that answers.
            self.drop()

    def _hand_over(self, attempt: Attempt | None) -> None:
        if self.user is not None:
            self.end_use(self.user)
        if self.connection.connection is not None and self._is_dead():
            with contextlib.suppress(Error):
                self.connection.close()
            self._raw = None
        self._take(attempt)

    def _execute(
        self, execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any
    ) -> Any:
        changes, ends = self.rules.judge(sql)
        if changes and not self.mark:
            self.mark = CHANGED
        if ends and self.connection.in_atomic_block:
            self._ended_by(f"its own {ends}")
        self.inside = True
        try:
            return execute(sql, params, many, context)
        except Error as error:
            if self.connection.in_atomic_block:
                self._ended_by(self._rolled_back_by(error))
            raise
        except BaseException:
            # The answer of the statement may still be on its way.
            self.mark = INTERRUPTED
            raise
        finally:
            self.inside = False

    def _ended_by(self, cause: str) -> None:
        if cause and self.user is not None and not self.user.ended[0]:
            self.user.ended = (self.connection.alias, cause)

    def _past_django(self) -> None:
        if self.inside:
            return
        attempt = current.get()
        if attempt is not self.user:
            self._take(attempt)
        if not self.mark:
            self.mark = CHANGED

    def end_use(self, attempt: Attempt | None) -> None:
        """Close the session unless others can have it; called in its own thread."""
        connection = self.connection
        self.user = None
        if connection.connection is None:
            connection.in_atomic_block = False
            return
        state = self.state()
        if state == TRANSACTION:
            _log.error(
                "a job left a transaction open on database %r, which is rolled back",
                connection.alias,
            )
            if attempt is not None:
                attempt.left_open = connection.alias
        if state:
            self.drop()
        elif self.is_pooled:
            with contextlib.suppress(Error):
                connection.close()
        elif connection.errors_occurred:
            self.inside = True
            connection.close_if_unusable_or_obsolete()
            self.inside = False
        self.used_at = time.monotonic()
        if connection.connection is None:
            self._raw = None  # a pool may give it to others, or back

    def state(self) -> str:
        """Return why no other attempt may have the session, or ""; the server may be asked."""
        state = self.glance()
        return TRANSACTION if state is CHANGED and self._ask() else state

    def glance(self) -> str:
        """Return the state without a statement; safe from any thread."""
        connection = self.connection
        wanted = connection.settings_dict["AUTOCOMMIT"]
        if connection.in_atomic_block or connection.autocommit != wanted:
            return TRANSACTION
        try:
            return self._state(connection.connection, wanted) or self.mark
        except Exception:  # whatever a driver raises when it was closed below Django
            return CLOSED

    def drop(self) -> None:
        """Close the session, whatever it is in."""
        raw = self.connection.connection
        _forget_transaction(self.connection)
        with contextlib.suppress(Exception):
            self._before_drop(raw)
        with contextlib.suppress(Error):  # PyMySQL raises it for a connection that is closed
            self.connection.close()
        self.mark = ""

    def _is_dead(self) -> bool:
        """Tell whether the server has closed the session; a quiet socket is believed for 5 s."""
        if self.glance() is CLOSED:
            return True
        idle = time.monotonic() - self.used_at > IDLE_SECONDS or _distrusted_at > self.used_at
        if not idle and not self._has_news():
            return False
        return not _answers(self)

    def _has_news(self) -> bool:
        """Tell whether the socket can be read between two statements: most likely it is closed."""
        if self._poll is None:
            self._poll = _poll_of(self._fileno(self._raw))
        return bool(self._poll and self._poll.poll(0))

    def _watch(self, raw: Any) -> None:
        """Call :meth:`_past_django` for statements that go past Django, where that is possible."""

    def _unwatch(self, raw: Any) -> None: ...

    def _state(self, raw: Any, wanted: bool) -> str:
        return ""

    def _ask(self) -> bool:
        """Ask the server whether a transaction is open in a session that was changed."""
        return False

    def _fileno(self, raw: Any) -> int | None:
        return None

    def _rolled_back_by(self, error: Error) -> str:
        """Return why *error* ended the whole transaction, or ""."""
        return ""

    def has_lost_transaction(self) -> bool:
        """Tell whether the transaction of atomic() was ended past Django."""
        return False

    def _before_drop(self, raw: Any) -> None: ...


def _forget_transaction(connection: BaseDatabaseWrapper) -> None:
    """Leave atomic blocks: inside one, ``close()`` would wait for an end that does not come."""
    connection.in_atomic_block = False
    connection.savepoint_ids = []
    connection.atomic_blocks = []
    connection.needs_rollback = False
    connection.run_on_commit = []
    connection.closed_in_transaction = False


def _poll_of(number: int | None) -> Any:
    if number is None:
        return None
    poll = select.poll()
    poll.register(number, select.POLLIN)
    return poll


def _answers(session: Session) -> bool:
    session.inside = True
    try:
        return session.connection.is_usable()
    except Exception:  # a driver may know further ways to say that it is closed
        return False
    finally:
        session.inside = False
