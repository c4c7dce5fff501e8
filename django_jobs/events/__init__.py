"""Events that are sent, jobs that wait for them, and how the two meet.

Sender and waiting job each write a row, commit, and look for the other's row afterwards. Whichever
commits last looks last, and its look sees both rows. So neither needs a lock that the other may
hold for long: a sender's transaction is the project's own, and may stay open for minutes.

- The sender inserts an ``Event`` in the caller's transaction.
- The worker inserts an ``EventWait`` in the transaction that makes the job WAITING.
- Both rows are ``is_new`` at first. A hook after the commit looks, and ends that. If the process
  dies between the two, ``maintenance.events`` finds the row by ``is_new`` and looks.

A look that finds a pair locks the event, then the job, and reads both again. All that ends a wait
holds the lock of the job and finds the ``EventWait`` in its place: an event, a timeout, an answer
of a person, a revoke. So an event is taken once, and a wait ends once.

On PostgreSQL a sender outside of a transaction sends its INSERT, its commit and its look as one
message, and the server runs them in this order. Only what that look leaves is looked at again.

No look may wait for a sender's transaction. MariaDB makes a locking read of an index wait for rows
that others have not committed, so a look first reads without locks, and locks by primary keys.

SQLite has no row locks: these transactions begin as IMMEDIATE, one after the other.
"""
