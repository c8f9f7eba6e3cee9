"""Who may do what, and be told of it: `tokens` knows the bearers by hashes alone, `signatures` signs what is
sent to one, `callback_urls` says at which addresses, and `secret_setting` reads what the first two hold.
"""
