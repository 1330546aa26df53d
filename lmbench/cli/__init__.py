"""The console command: thin verbs over the rooms, with help that teaches and exit statuses that mean something."""
