from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models.expressions import Col

from ..db import dialect_for

if TYPE_CHECKING:
    _SmallInteger = models.SmallIntegerField[int, int]
    # What is assigned and read is any JSON, which TextField's own types would refuse.
    _Text = models.TextField[Any, Any]
    _DateTime = models.DateTimeField[Any, Any]
else:
    _SmallInteger = models.SmallIntegerField
    _Text = models.TextField
    _DateTime = models.DateTimeField


class MomentField(_DateTime):
    """A time that a call or a person gave.

    A row may have one that no page and no worker could read. It is read as the nearest that can be.
    """

    if TYPE_CHECKING:
        _pyi_private_set_type: Any
        _pyi_private_get_type: Any

    def select_format(self, compiler: Any, sql: str, params: Any) -> tuple[str, Any]:
        times = dialect_for(compiler.connection).readable(sql)
        return times, [*params] * times.count(sql)

    def deconstruct(self) -> Any:
        # For the table it is nothing else.
        name, _path, args, kwargs = super().deconstruct()
        return name, "django.db.models.DateTimeField", args, kwargs


def decoded(text: str | None) -> Any:
    """Return the value that *text* is the JSON of."""
    if text is None:
        return None
    if text == "[]":  # as in most of a thousand rows
        return []
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text  # edited by hand into no JSON: shown as it is, refused when it is run


class JSONTextField(_Text):
    """JSON kept as text: what is read is what was written, on every database.

    ``jsonb`` and MySQL's ``JSON`` reorder keys and rewrite numbers, and the hot path never asks
    the database to look inside.
    """

    if TYPE_CHECKING:
        # What the type checker's plugin takes for the types of assigned and read values.
        _pyi_private_set_type: Any
        _pyi_private_get_type: Any

    def from_db_value(self, value: str | None, expression: Any, connection: Any) -> Any:
        return decoded(value)

    def to_python(self, value: Any) -> Any:
        return value

    def get_prep_value(self, value: Any) -> str | None:
        if value is None:
            return None
        return json.dumps(value, cls=DjangoJSONEncoder, separators=(",", ":"), allow_nan=False)

    def value_to_string(self, obj: models.Model) -> Any:
        # Not a text: dumpdata makes JSON of it, and loaddata gives it back as it is here.
        return self.value_from_object(obj)


class OneKindField(JSONTextField):
    """JSON of the kind of ``default``, which is ``list`` or ``dict``.

    What else somebody wrote into the row is read as an empty one. So it breaks no page that shows
    the row beside others.
    """

    def from_db_value(self, value: str | None, expression: Any, connection: Any) -> Any:
        found, kind = decoded(value), self.default
        return found if isinstance(found, kind) else kind()

    def deconstruct(self) -> Any:
        # For the table it is nothing else.
        name, _path, args, kwargs = super().deconstruct()
        return name, f"{__name__}.JSONTextField", args, kwargs


class NegatedField(_SmallInteger):
    """Another field with the opposite sign, for queries and for objects; it has no column."""

    def __init__(self, verbose_name: Any, *, of: str) -> None:
        super().__init__(verbose_name, editable=False)
        self.of = of

    def get_attname_column(self) -> Any:
        return self.get_attname(), None

    def contribute_to_class(
        self, cls: type[models.Model], name: str, private_only: bool = False
    ) -> None:
        # A private field is in no INSERT, SELECT * or migration.
        super().contribute_to_class(cls, name, private_only=True)
        setattr(cls, name, property(self._read, self._write))

    def get_col(self, alias: Any, output_field: Any = None) -> Any:
        column: Any = self.model._meta.get_field(self.of)
        return _Negated(alias, column, self)

    def _read(self, row: Any) -> int:
        value: int = getattr(row, self.of)
        return -value

    def _write(self, row: Any, value: int) -> None:
        setattr(row, self.of, -value)


class _Negated(Col):
    def as_sql(self, compiler: Any, connection: Any) -> Any:
        column, params = super().as_sql(compiler, connection)
        return f"(-{column})", params
