"""What the pages for listening read: the analysts' views and nothing else, with an analyst's session."""
