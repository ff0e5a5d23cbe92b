"""What the code declares and what a call asks for, checked and encoded."""
