"""Say it: terminal, Markdown, HTML and CSV from records and verdicts; no thresholds of its own."""
