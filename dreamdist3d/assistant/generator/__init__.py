"""The generator (CAFE, section 3.1): the backbone, which sees S and a picture's patches beside the words."""
