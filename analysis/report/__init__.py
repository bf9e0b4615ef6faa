"""One self-contained HTML page from run records: tables that sort and filter, plots, and every run behind a number."""
