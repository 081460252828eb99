"""HTTP to StackStorm and to Mistral, free of oslo and of Mistral itself."""
