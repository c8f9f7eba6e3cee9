"""Who may do what: `tokens` knows the bearers by hashes alone, and `signatures` signs what is sent to one."""
