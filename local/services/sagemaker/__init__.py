"""SageMaker, its runtime and its feature store runtime: jobs, pipelines and endpoints as local processes."""
