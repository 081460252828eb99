"""Code that tests share. Import it as ``from support.x import …``."""
