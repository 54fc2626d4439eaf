"""Deployment of stacks: saved plans, rollouts, destruction, garbage collection, and checks against losses."""
