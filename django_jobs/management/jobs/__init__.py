"""What ``manage.py jobs`` does: looking, acting, and how both are printed."""
