"""Wrong keys and options are refused before a job runs, and no message has a key."""

from __future__ import annotations

import builtins
from typing import Any

import pytest
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured

from django_jobs import job
from django_jobs.conf import get_settings
from django_jobs.define import envelopes
from django_jobs.exceptions import EncryptionError
from tests.encryption.conftest import NEW, SECRET

pytestmark = pytest.mark.once


def found() -> dict[str, str]:
    return {str(each.id): f"{each.msg} {each.hint}" for each in run_checks(tags=["django_jobs"])}


@pytest.mark.parametrize("key", [SECRET, "A" * 44, f"{'A' * 43}=\n", b"A" * 44, 7])
def test_a_wrong_key_is_named_by_its_place(settings: Any, key: Any) -> None:
    settings.DJANGO_JOBS = {"ENCRYPTION_KEYS": [NEW, key]}
    text = found()["django_jobs.E024"]
    assert "ENCRYPTION_KEYS'][1] " in text
    assert str(key) not in text
    assert NEW not in text


def test_good_keys_are_not_refused(settings: Any) -> None:
    settings.DJANGO_JOBS = {"ENCRYPTION_KEYS": [NEW, f"{'-_' * 21}8="]}
    assert not found().keys() & {"django_jobs.E024", "django_jobs.E025", "django_jobs.E001"}
    assert NEW not in repr(get_settings())
    settings.DJANGO_JOBS = {"ENCRYPTION_KEYS": NEW}
    assert "must be list or tuple, got str" in found()["django_jobs.E001"]
    assert NEW not in found()["django_jobs.E001"]


def test_encrypt_without_keys_is_refused_at_start(functions: Any, settings: Any) -> None:
    assert "django_jobs.E026" not in found()
    settings.DJANGO_JOBS = {}
    assert found()["django_jobs.E026"].startswith("enc.")


def test_a_missing_package_is_named(functions: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("cryptography"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    envelopes._made.cache_clear()
    try:
        assert "pip install" in found()["django_jobs.E025"]
        with pytest.raises(EncryptionError, match=r"django-background-jobs\[encryption\]"):
            functions.charge.delay(SECRET)
    finally:
        envelopes._made.cache_clear()


@pytest.mark.parametrize("encrypt", ["number", [], [1], 1, None, ["numbre"]])
def test_a_wrong_option_is_refused(registered: Any, encrypt: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match="encrypt"):

        @job(name="enc.wrong", encrypt=encrypt)
        def wrong(number: str) -> None: ...
