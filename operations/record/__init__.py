"""The record of calls: writing, reading, exporting, erasing."""
