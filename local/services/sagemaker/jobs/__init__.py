"""Training and processing jobs as subprocesses."""
