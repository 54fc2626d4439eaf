"""From sources to a training set: ingest, validate, join, split, and publish features."""
