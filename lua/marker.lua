#!lua flags=no-writes
-- Says under which stamp the keeper opened the process that runs it: only the keeper loads it, so whatever answers is
-- the very process that was opened, and another version's scripts may be loaded beside the keeper's.
--
-- This text never changes, not by one character, and neither does the line that is put in front of it: a node of another
-- version must compute the same digest. There is nothing in it that could need a change.
--
-- KEYS  1 meta (so that a cluster finds the server)
-- Reply the stamp
return STAMP
