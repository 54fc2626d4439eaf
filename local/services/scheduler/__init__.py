"""EventBridge Scheduler: schedules that start what they name."""
