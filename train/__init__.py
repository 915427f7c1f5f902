"""Training tools, run from the checkout: python -m train.<module>. Not part of the installed package."""
