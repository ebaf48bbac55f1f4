"""A live store on a broker's maintained SDK."""
