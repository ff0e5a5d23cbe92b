"""Build the table, with ``manage.py migrate``."""
