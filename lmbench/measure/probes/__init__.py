"""One file per source of facts about the machine; absent facilities are None with a reason, never an exception."""
