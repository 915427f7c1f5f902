"""The trainers: streamparts.train in the wheel. In a checkout, `python -m train.assembly` is `streamparts train`."""
