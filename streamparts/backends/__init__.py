"""Engines that run a model. Each takes pictures and gives labels, affines and scores; nothing else differs."""
