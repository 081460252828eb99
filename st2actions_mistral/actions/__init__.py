"""The two actions that the package adds to Mistral."""
