"""The shipped run configurations, packaged as `dreamdist3d.configs`."""
