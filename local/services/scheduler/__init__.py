"""EventBridge Scheduler: schedules that start their targets."""
