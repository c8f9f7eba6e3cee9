"""How programs tell what they do: `log` in lines of JSON, `metrics` in figures that CloudWatch takes out of
such lines, `terminal` to a person."""
