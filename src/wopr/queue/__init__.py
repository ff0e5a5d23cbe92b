"""The public calls: TaskQueue and its faces."""
