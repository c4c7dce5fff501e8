"""The mails of Django's file backend, for use in development."""

import email
import email.policy
from email.message import EmailMessage
from pathlib import Path

_LINE = b"-" * 79


def mails(folder: Path, limit: int = 10) -> list[EmailMessage]:
    """Return the newest mails in *folder*, newest first."""
    files = sorted(folder.glob("*.log"), reverse=True)[:limit]
    texts = [text for file in files for text in reversed(_split(file.read_bytes()))]
    return [_parse(text) for text in texts[:limit]]


def _split(content: bytes) -> list[bytes]:
    return [part.strip() for part in content.split(_LINE) if part.strip()]


def _parse(text: bytes) -> EmailMessage:
    return email.message_from_bytes(text, _class=EmailMessage, policy=email.policy.default)
