"""Integrations with other packages. Nothing below imports them; a project names what it uses."""
