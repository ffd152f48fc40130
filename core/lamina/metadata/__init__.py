"""Records that survive: the database of a store, its tables, and the journal of what is under way.

=============  ====================================================================================================
``schema``     the tables
``database``   transactions: a ``with`` block yields the only object that can write
``snapshots``  rows of the layer graph, read into values
``journal``    intents: written before something begins, gone when it ended, replayed when its owner died in between
=============  ====================================================================================================
"""
