"""One viewer's session, its menus and its window."""
