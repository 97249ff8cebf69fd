"""Other people's tests of what we speak."""
