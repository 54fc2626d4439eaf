"""Delivery through GitHub or GitLab workflows: the workflow files, saved plans and preview comments."""
