"""wopr in web frameworks: one small module each, which imports only its own framework."""
