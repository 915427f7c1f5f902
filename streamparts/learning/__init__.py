"""From a camera or raw clips to a model, in one call: record, learn or adapt, export."""
