"""Backends run a model: images in; labels, affines and scores out."""
