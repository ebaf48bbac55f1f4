"""The 86 features of a bar: functions of the trailing 101 bars."""
