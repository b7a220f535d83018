"""Records in; terminal, Markdown, JUnit and pictures out."""
