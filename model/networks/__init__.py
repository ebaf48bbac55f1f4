"""BiLSTM, Transformer, and networks of your own."""
