from email.message import EmailMessage

from django import template

register = template.Library()


# Filters, because an attribute of a mail in a template would be looked up as a header.
@register.filter
def header(mail: EmailMessage, name: str) -> str:
    return str(mail[name] or "")


@register.filter
def body(mail: EmailMessage) -> str:
    return str(mail.get_content())
