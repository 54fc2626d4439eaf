"""Models, endpoints and their rollouts."""
