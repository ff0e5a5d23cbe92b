"""What happens, with one owner: order, limits and dependencies in this process's memory."""
