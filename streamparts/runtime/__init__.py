"""A run: from the frames of a source through the network to its outputs, with its threads, options and figures."""
