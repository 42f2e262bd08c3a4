"""The only room with torch in it: stages executed, models trained, products used."""
