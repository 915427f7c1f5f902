"""Shows a model's parts and stores their names."""
