"""The broker port over the TWS API. The only package that imports the client library."""
