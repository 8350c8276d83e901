"""What an operator may do: offered, confirmed, carried out, followed to its end."""
