"""Dialogues of the miniature world: sentences with the intentions behind them, as many as are wanted."""
