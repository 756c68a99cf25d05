"""Is a live human before the camera? Beside recognition, never inside it."""
