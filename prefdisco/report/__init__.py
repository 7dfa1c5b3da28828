"""What a person looks at after a run: one table, three figures, one page."""
