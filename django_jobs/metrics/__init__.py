"""What happened and how things stand, in numbers."""
