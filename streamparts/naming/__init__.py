"""The parts of a model: pictures of each, and names given by people."""
