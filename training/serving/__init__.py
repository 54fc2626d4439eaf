"""The model server, what it takes and answers, and requests made for it."""
