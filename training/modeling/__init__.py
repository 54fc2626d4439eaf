"""Steps from a training set to a judged model: fit, save, score, evaluate against gates and champion."""
