"""Images in a GPU's memory."""
