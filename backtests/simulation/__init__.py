"""What positions earn, by broker and vectorised."""
