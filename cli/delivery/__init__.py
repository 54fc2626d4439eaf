"""Delivery by a host's workflows: what a change concerns, plans that were kept, comments, the workflows."""
