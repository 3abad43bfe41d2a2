"""What routing should be, and the steps that lead there: pure, and without HAProxy's words."""
