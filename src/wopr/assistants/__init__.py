"""A queue for assistants, over MCP: questions as tools, acts in two steps, the documentation."""
