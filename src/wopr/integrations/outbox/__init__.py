"""Tasks that are enqueued if, and only if, a transaction of the application is committed."""
