"""What a change would do to data, traffic, model, permissions, alarms and cost, for a reviewer."""
