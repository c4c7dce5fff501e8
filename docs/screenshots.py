"""A page of a headless Chromium, which is spoken to over its debugging pipe."""

from __future__ import annotations

import base64
import fcntl
import itertools
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.cookiejar import CookieJar
from typing import Any
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, OpenerDirector, build_opener

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--hide-scrollbars",
    "--remote-debugging-pipe",
)  # fmt: skip
# The descriptors on which Chromium reads and writes.
FROM_US, TO_US = 3, 4


class Browser:
    """A page of a headless Chromium."""

    def __init__(self, write: int, read: int) -> None:
        self._write = write
        self._read = os.fdopen(read, "rb")
        self._numbers = itertools.count(1)
        self._session = ""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = json.loads(self._message())
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                result: dict[str, Any] = answer["result"]
                return result

    def _message(self) -> bytes:
        text = bytearray()
        while (byte := self._read.read(1)) != b"\0":
            if not byte:
                raise RuntimeError("Chromium has ended")
            text += byte
        return bytes(text)

    def close(self) -> None:
        self._read.close()
        os.close(self._write)

    def take(self, url: str, width: int, height: int) -> bytes:
        """Return the top of a page as PNG, once it is drawn."""
        self.call("Page.navigate", url=url)
        state = "({state: document.readyState, url: location.href}).state"
        while self.call("Runtime.evaluate", expression=state)["result"]["value"] != "complete":
            time.sleep(0.05)
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])


@contextmanager
def browser() -> Iterator[Browser]:
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        raise SystemExit("Chromium is not installed")
    child_read, write = os.pipe()
    read, child_write = os.pipe()

    def lay_out() -> None:
        # Via free numbers above both: one of the pipes may stand on a descriptor that is wanted.
        for end, wanted in [
            (fcntl.fcntl(end, fcntl.F_DUPFD, TO_US + 1), wanted)
            for end, wanted in ((child_read, FROM_US), (child_write, TO_US))
        ]:
            os.dup2(end, wanted)

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(  # noqa: S603 (the program and the flags above)
            [program, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            pass_fds=(FROM_US, TO_US),
            preexec_fn=lay_out,
            stderr=subprocess.DEVNULL,
        )
        os.close(child_read)
        os.close(child_write)
        opened = Browser(write, read)
        try:
            yield opened
        finally:
            opened.close()
            process.terminate()
            process.wait()


def log_in(site: str) -> tuple[OpenerDirector, str]:
    """Log in as the demo's superuser; return what opens pages, and the session's cookie."""
    cookies = CookieJar()
    opener = build_opener(HTTPCookieProcessor(cookies))
    page = f"{site}/admin/login/"
    opener.open(page).close()
    token = next(cookie.value for cookie in cookies if cookie.name == "csrftoken") or ""
    form = {"username": "admin", "password": "admin", "csrfmiddlewaretoken": token}
    opener.open(page, urlencode(form).encode()).close()
    session = next((cookie.value for cookie in cookies if cookie.name == "sessionid"), None)
    if session is None:
        raise SystemExit("the demo's user admin cannot log in")
    return opener, session
