"""Weights of others: ImageNet's, the features of fixed networks, and students read back from exported models."""
