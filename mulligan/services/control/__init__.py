"""mulligan-control: machines, credentials, images, and what guards them."""
