"""What the book's pages show: tables, figures and sentences."""
