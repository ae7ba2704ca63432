"""The tables, figures and sentences of the book's pages."""
