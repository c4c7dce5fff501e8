from django import forms
from django.db.models import Count

from .models import Airport


class CompareForm(forms.Form):
    scope = forms.ChoiceField(label="Which airports")

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.fields["scope"].choices = [
            ("IATA", "All with an IATA code"),
            ("ALL", "All of them (takes a minute or two)"),
            ("Countries", _countries()),
        ]


def _countries() -> list[tuple[str, str]]:
    counted = Airport.objects.values_list("country").annotate(Count("code")).order_by("country")
    return [(country, f"{country} ({count})") for country, count in counted if count > 1]
