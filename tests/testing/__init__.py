"""What `trio_closeevents.testing` gives to users, used as they would."""
