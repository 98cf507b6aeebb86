"""A process that takes calls: what they share, who hears of them, what is done beside them."""
