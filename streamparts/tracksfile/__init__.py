"""The file of tracks that streamparts writes, schema streamparts.tracks/3: writing, reading, going on after a break."""
