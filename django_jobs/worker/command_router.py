"""The coordinator reads the commands for its workers, passes them on and writes the answers."""

from __future__ import annotations

import json
import os
import time
import weakref
from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from django.core.serializers.json import DjangoJSONEncoder
from django.db import connections, transaction
from django.db.models import QuerySet

from ..db import clock
from ..models import Command, Worker
from ..process import native
from ..process.wakeup import readable
from .dispatch_line import DispatchLine, Link

# Bytes. No valid arguments are longer: of such ones the worker gets the beginning, and refuses it.
_LONGEST = 16_384
# Most commands that a worker has at a time, so that they fit into the buffer of its socket.
_MOST = 5
# A worker that has not answered gets its commands again after this time.
_AGAIN_SECONDS = 1.0


class Answer(NamedTuple):
    """The answer of a worker to a command, and the columns of its row that the command changed."""

    command_id: int
    answer: dict[str, Any]
    columns: dict[str, Any]


class CommandRouter:
    """Sends each worker the list of its open commands, until their rows have the answers.

    A worker executes a command once, however often it gets it, and forgets the answers to those
    that a list no longer has. One thread reads the messages of the workers (:meth:`serve`), another
    one uses the database (:meth:`run_once`). *ask* has the other one called soon, *on_topic* takes
    what a worker has heard from the database.
    """

    def __init__(
        self,
        using: str,
        line: DispatchLine,
        *,
        ask: Callable[[], object],
        on_topic: Callable[[str], object],
    ) -> None:
        self._using = using
        self._line = line
        self._ask = ask
        self._on_topic = on_topic
        # A thread of the system reads, also where gevent has replaced what waits.
        self._make_poll = native.original("select", "poll")
        self._called, self._caller = os.pipe()
        for end in (self._called, self._caller):
            weakref.finalize(self, os.close, end)
        self._is_over = False
        self._joined: dict[int, Link] = {}
        # Guards what follows.
        self._lock = native.lock()
        self._links: dict[UUID, Link] = {}
        self._answers: dict[UUID, dict[int, Answer]] = {}
        # The list that each worker has, and when it was sent; those that are not empty.
        self._sent: dict[UUID, tuple[list[int], float]] = {}

    # --- the thread that reads ------------------------------------------------------------------

    def serve(self) -> None:
        """Read messages until :meth:`stop`."""
        while not self._is_over:
            self.read(60.0)
        for link in list(self._joined.values()):
            self._drop(link)

    def read(self, seconds: float) -> None:
        """Take what comes within so many seconds; return after the first messages."""
        watched = [self._called, self._line.fileno(), *self._joined]
        ready = readable(watched, seconds, self._make_poll)
        if self._called in ready:
            os.read(self._called, 4096)
        for link in [self._joined[each] for each in self._joined.keys() & ready]:
            for message in link.received():
                self._take(link, *message)
        if self._line.fileno() in ready:
            self._joined.update((link.fileno(), link) for link in self._line.joined())
        for link in [link for link in self._joined.values() if link.is_over]:
            self._drop(link)

    def stop(self) -> None:
        """Let :meth:`serve` return."""
        self._is_over = True
        os.write(self._caller, b"!")

    def _take(self, link: Link, worker_id: str, topic: str, answers: Sequence[Any]) -> None:
        if topic:
            self._on_topic(topic)
            return
        with self._lock:
            if self._links.get(UUID(worker_id)) is not link:
                self._links[UUID(worker_id)] = link
                self._sent.pop(UUID(worker_id), None)
            kept = self._answers.setdefault(UUID(worker_id), {})
            kept.update((each[0], Answer(*each)) for each in answers)
        self._ask()

    def _drop(self, link: Link) -> None:
        with self._lock:
            for worker_id in [each for each, other in self._links.items() if other is link]:
                del self._links[worker_id]
        self._joined.pop(link.fileno(), None)
        link.close()

    # --- the thread that has a connection -------------------------------------------------------

    @property
    def is_waiting(self) -> bool:
        """Whether there are commands whose answers are not written."""
        return bool(self._sent)

    def run_once(self) -> int:
        """Write the answers that came, and send the commands that are open; return their number."""
        with self._lock:
            workers = list(self._links)
            answers, self._answers = self._answers, {}
        try:
            written = self._write(answers)
        except BaseException:
            with self._lock:
                for worker_id, kept in answers.items():
                    self._answers[worker_id] = kept | self._answers.get(worker_id, {})
            raise
        rows = Command.objects.using(self._using).filter(worker_id__in=workers, done_at=None)
        found: dict[UUID, list[Command]] = {worker_id: [] for worker_id in list(self._sent)}
        for command in rows.order_by("id"):
            found.setdefault(command.worker_id, []).append(command)
        with self._lock:
            for worker_id, commands in found.items():
                self._send(worker_id, commands)
        return written + sum(map(len, found.values()))

    def _send(self, worker_id: UUID, commands: Sequence[Command]) -> None:
        link, some, now = self._links.get(worker_id), commands[:_MOST], time.monotonic()
        ids = [command.pk for command in some]
        before, sent_at = self._sent.get(worker_id, ([], 0.0))
        if link is None or (ids == before and now < sent_at + _AGAIN_SECONDS):
            return
        texts = [[each.pk, each.name, _short(each.arguments), each.created_by] for each in some]
        if not link.send([str(worker_id), texts]):
            os.write(self._caller, b"!")  # the reader drops the link, and the worker joins again
        elif ids:
            self._sent[worker_id] = ids, now
        else:
            del self._sent[worker_id]

    def _write(self, answers: dict[UUID, dict[int, Answer]]) -> int:
        """Write answers; return their number.

        One whose row is locked is left out: the worker is asked again.
        """
        every = [(pk, each) for pk, kept in answers.items() for each in kept.values()]
        if not every:
            return 0
        commands, workers = Command.objects.using(self._using), Worker.objects.using(self._using)
        written = 0
        with transaction.atomic(self._using):
            free = self._free(commands, {each.command_id for _pk, each in every})
            known = self._free(workers, {pk for pk, each in every if each.columns})
            for worker_id, (command_id, answer, columns) in sorted(every, key=_by_command):
                if command_id not in free or (columns and worker_id not in known):
                    continue
                if columns:
                    workers.filter(pk=worker_id).update(**columns)
                commands.filter(pk=command_id).update(done_at=clock(self._using), answer=answer)
                written += 1
        return written

    def _free(self, rows: QuerySet[Any], ids: Collection[Any]) -> set[Any]:
        """Lock the rows that nobody else has locked; return their ids."""
        if not ids:
            return set()
        features = connections[self._using].features
        free = rows.filter(pk__in=ids).order_by("pk")
        free = free.select_for_update(
            skip_locked=features.has_select_for_update_skip_locked,
            no_key=features.has_select_for_no_key_update,
        )
        return set(free.values_list("pk", flat=True))


def _by_command(answer: tuple[UUID, Answer]) -> int:
    return answer[1].command_id


def _short(arguments: Any) -> Any:
    text = json.dumps(arguments, cls=DjangoJSONEncoder)
    return arguments if len(text) <= _LONGEST else text[:_LONGEST]
