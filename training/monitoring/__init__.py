"""What was served, held against the training data and the outcomes that arrived since."""
