"""How the commands speak: tables, JSON, progress, interrupts, errors, subprocesses, templates."""
