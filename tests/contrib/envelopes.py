"""Transports of sentry-sdk that keep what it sends: in memory, or in a file."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import HttpTransport, Transport

from tests.waiting import LONG

Items = list[tuple[str, dict[str, Any]]]


def items_of(envelope: Envelope) -> Items:
    return [
        (str(item.type), json.loads(item.payload.get_bytes()))
        for item in envelope.items
        if item.type in ("event", "transaction", "check_in")
    ]


class Kept(Transport):
    """Keeps the items in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.items: Items = []

    def capture_envelope(self, envelope: Envelope) -> None:
        self.items += items_of(envelope)

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [item for each, item in self.items if each == kind]

    @property
    def events(self) -> list[dict[str, Any]]:
        return self.of("event")

    @property
    def transactions(self) -> list[dict[str, Any]]:
        return self.of("transaction")


class Written(HttpTransport):
    """Writes the items into the file ``TEST_SENTRY``, in its thread, as soon as it is flushed."""

    def __init__(self, options: Any) -> None:
        super().__init__(options)
        self._flushed = threading.Event()

    def _send_envelope(self, envelope: Envelope) -> None:
        self._flushed.wait(LONG)
        with Path(os.environ["TEST_SENTRY"]).open("a") as file:
            for kind, item in items_of(envelope):
                print(json.dumps([os.getpid(), kind, item]), file=file)

    def flush(self, *args: Any, **kwargs: Any) -> None:
        self._flushed.set()
        super().flush(*args, **kwargs)
