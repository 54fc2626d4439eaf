"""The monitor: compares served rows with the training data and with the outcomes that have arrived since."""
