"""HAProxy's span log, turned into OpenTelemetry spans."""
