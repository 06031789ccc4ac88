"""The two functions of the `mvdream` package that threestudio-mvdream's guidance calls."""
