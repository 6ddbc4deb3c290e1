"""Why a result can be believed: what is damaged, what was made up, how well the tool does on this volume."""
