"""Why a result can be believed: what is damaged, what was made up, and how well the tool does on this very volume."""
