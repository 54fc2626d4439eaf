"""What watches the cloud: events and their rules, schedules, and CloudWatch alarms."""
