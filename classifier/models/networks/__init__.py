"""The networks, one module a family, and the layers that they share."""
