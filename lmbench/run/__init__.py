"""Case to Record: executed here or in a fresh process; the only room that may catch everything."""
