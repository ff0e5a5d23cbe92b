"""What happens to the tasks of a database that many hosts share; the database holds it together.

No host knows what waits, who holds a unique key or whose parents have ended: each asks, in the
statement that changes it. What a host has in memory is what runs there.
"""
