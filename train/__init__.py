"""Training tools, run from the checkout with python -m train.<module>. They are not part of the installed package."""
