"""What is extracted here is a ball."""
