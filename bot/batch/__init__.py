"""Recognition of whole recordings and synthesis of whole texts, outside calls."""
