"""The model server, its requests and answers, and the steps that make requests for it."""
