"""What runs inside jobs and endpoints: every step of the loop, and the model server.

It ships as one bundle (`training/bundle.py`) and imports only `millrace` and the use case's own package.
"""
