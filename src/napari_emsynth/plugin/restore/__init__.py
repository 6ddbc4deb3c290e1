"""The dock and the menu that mend sections: marks, masks, previews and repairs."""
