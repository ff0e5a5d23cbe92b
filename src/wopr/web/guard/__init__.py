"""Who may ask what: identities, roles, and what a request must not be."""
