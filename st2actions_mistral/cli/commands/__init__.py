"""The commands of st2-mistral, one module each."""
