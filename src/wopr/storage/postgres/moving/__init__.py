"""The tables on a server of a queue that moves: how they are filled, and what is read from them."""
