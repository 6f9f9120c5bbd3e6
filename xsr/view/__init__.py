"""What a person looks at: cards, pictures, reports and the map."""
