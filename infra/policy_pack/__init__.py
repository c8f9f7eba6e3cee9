"""The rules that every change of the program has to keep, as a policy pack that Pulumi runs beside it."""
