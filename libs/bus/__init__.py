"""The bus: typed records, facts and reports over NATS (JetStream key-value, streams, core)."""
