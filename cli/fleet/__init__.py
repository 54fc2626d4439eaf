"""The fleet: every stack that has a stack file, with its status, cost and action items."""
