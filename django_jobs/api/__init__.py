"""The objects that users hold: job functions and handles. The engine below imports none of them."""
