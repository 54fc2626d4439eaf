"""What really runs: containers as processes, endpoints, jobs, pipelines, the offline store."""
