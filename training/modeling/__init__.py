"""Fit a model, save and score it, evaluate it against its gates and its champion."""
