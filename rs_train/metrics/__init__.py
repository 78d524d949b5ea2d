"""Measures of results; on the metric network, which no loss sees."""
