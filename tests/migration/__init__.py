"""What the migration guides say of other libraries and of this one, looked at in both."""
