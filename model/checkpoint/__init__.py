"""Trained models as files: members, scaler, format, schedules and the rolling buffer."""
