"""What results look like to people; one file per thing shown."""
