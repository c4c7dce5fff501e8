from email.message import EmailMessage

from django import template

register = template.Library()


# Filters, because a template that asks a mail for an attribute is given a header, or None.
@register.filter
def header(mail: EmailMessage, name: str) -> str:
    return str(mail[name] or "")


@register.filter
def body(mail: EmailMessage) -> str:
    return str(mail.get_content())
