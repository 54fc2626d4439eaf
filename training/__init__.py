"""Code that runs inside jobs and endpoints: the steps of the pipelines and the model server.

It ships as one bundle (`training/bundle.py`) and imports only `millrace`, `queries` and the use case's own package.
"""
