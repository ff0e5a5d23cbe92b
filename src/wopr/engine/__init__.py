"""Run-time behaviour over ports; never imports a storage."""
