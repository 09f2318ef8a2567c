"""People's data: forgetting somebody wherever Cloche keeps something, holding what the law keeps, and retention."""
