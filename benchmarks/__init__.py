"""Time and memory that Millrace takes on this machine: measured and printed, never asserted."""
