"""What the model may ask to have done."""
