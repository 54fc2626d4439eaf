"""What `millrace new` does: look at data, ask what it cannot tell, write a use case, try it before it is there."""
