"""Readers of mesh files as other programs write them: glTF, OBJ, PLY."""
