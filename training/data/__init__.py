"""Steps from sources to a training set: ingest, validate, join, split; and the publishing of features."""
