"""The relay: a small daemon beside Mistral that brings results back."""
