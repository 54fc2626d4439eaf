"""What Millrace takes on this machine: time and memory, measured and printed, never asserted."""
