"""What positions earn: through Backtrader's broker, and as plain arrays."""
