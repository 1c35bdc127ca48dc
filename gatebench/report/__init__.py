"""What people look at: tables now, figures and comparisons with the published numbers as they become real."""
