"""How the API and the loader tell what they do: `log` in lines of JSON, `metrics` in figures that CloudWatch
takes out of such lines."""
