"""People in the user's seat: in the terminal (chat), in the browser (study), and against simulated users (compare)."""
