"""What the gallery holds of people, and the rules of writing it."""
