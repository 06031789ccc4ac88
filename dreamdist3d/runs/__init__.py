"""One run from prompt to mesh, its folder and its record, and several runs side by side."""
