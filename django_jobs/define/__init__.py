"""What can run: job functions, their options, calls and canvases. Nothing here writes a row."""
