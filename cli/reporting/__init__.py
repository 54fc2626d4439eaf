"""What a report says, and its plots."""
