"""Files only: models that streamparts finds by their names."""
