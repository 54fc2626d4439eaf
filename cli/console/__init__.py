"""Input and output of the commands: tables, JSON, progress, interrupts, errors, subprocesses, templates."""
