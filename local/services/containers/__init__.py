"""Processes that emulate containers: the process group, its guard, its logs."""
