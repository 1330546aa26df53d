"""The report site: every stored run, plan and history as linked pages; nothing here decides, and nothing here reads a clock."""
