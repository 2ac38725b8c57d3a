"""What the daemon tells the outside: OpenTelemetry logs from the journal, Prometheus metrics on scrape."""
