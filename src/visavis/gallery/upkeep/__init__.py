"""A gallery kept in order: looked through, sealed anew, encoded anew, and what erasure left."""
