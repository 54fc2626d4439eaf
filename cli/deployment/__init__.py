"""Deploying a stack: plans, rollouts, what it leaves behind, and what must not be lost."""
