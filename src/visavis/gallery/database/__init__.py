"""The database: tables and their history, transactions, what is SQLite's and what PostgreSQL's."""
