"""The effects of a change on data, traffic, model, permissions, alarms and cost, for a reviewer."""
