"""Work off the window's thread: the queue, its progress, the engine's loading, what the user is told."""
