"""What a threestudio extension needs and threestudio does not have to be there for.

The extension itself, the only place where threestudio is imported, is the folder `threestudio_ext`.
"""
