"""Other systems that do the same, as recipes: how to install, load and ask them."""
