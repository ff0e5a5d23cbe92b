"""What the code declares and what a call asks for, checked and encoded.

Resources are declared, opened and closed here too: their parameters are no part of a call.
"""
