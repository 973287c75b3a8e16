"""What edgekit hands to people: tables, pictures and pages."""
