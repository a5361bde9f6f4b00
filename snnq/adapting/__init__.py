"""Job: a small side file that lets a packed folder, whose codes stay frozen, learn other classes task by task."""
