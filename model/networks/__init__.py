"""The networks: BiLSTM, Transformer, and the registry for your own."""
