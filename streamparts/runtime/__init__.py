"""A run: from the frames of a source through the network to the outputs, with threads, options and statistics."""
