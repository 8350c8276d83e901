"""What every call goes through, from the connection to the error that it ends in."""
