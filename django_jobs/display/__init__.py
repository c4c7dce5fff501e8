"""Text for the admin and for the commands."""
