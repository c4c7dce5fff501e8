"""``runworker``: a supervisor, its worker processes, and what runs inside one of them."""
