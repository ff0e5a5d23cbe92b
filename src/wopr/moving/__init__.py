"""A queue moves from a file to PostgreSQL, or back, while it works.

What is there already is copied first, beside the work. Then the work pauses: what has changed
since is copied, both homes are compared, and one durable mark at the old home says where the
queue is. Who is killed before the mark has changed nothing; who is killed after it has moved.
"""
