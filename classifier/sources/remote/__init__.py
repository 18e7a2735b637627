"""Downloads over HTTP: resumed after a break, and checked."""
