"""Contacts: files of them, telephone numbers and names of persons."""
