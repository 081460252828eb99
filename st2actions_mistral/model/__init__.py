"""What travels between the two systems: frozen dataclasses and tables, no I/O."""
