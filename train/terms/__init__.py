"""The losses, and the objectives that weigh them."""
