"""The tracks file, schema streamparts.tracks/3: writing, reading, resuming."""
