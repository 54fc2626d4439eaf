"""SageMaker, its runtime and its feature store runtime, really running."""
