"""Labels and masks between sections: by shape, never by averaging ids."""
