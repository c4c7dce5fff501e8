"""For other systems that a project may use."""
