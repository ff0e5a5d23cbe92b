"""The tables and statements of a queue that many hosts share, on PostgreSQL.

All of it is in the schema ``wopr``, and statements name it: they also run on connections of the
application, which may have tables of the same names.
"""
