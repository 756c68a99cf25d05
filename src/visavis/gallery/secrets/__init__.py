"""What is secret: keys, sealed rows, and the turn of vectors that leave the machine."""
