"""The bucket and the queue between `api`, which accepts batches, and `loader`, which does them.

`layout` says where in the bucket what lies → `manifest` is what was accepted, and for whom → `bucket` reads
and writes objects, `parts` large ones → `messages` are what the queue carries → `work_queue` takes them from
it. `clients` reaches both, `settings` names them, `errors` is what can go wrong.
"""
