"""Records in; terminal, Markdown, JUnit and pictures out.

view, views        how each kind of record is shown, a row each
text, terminal, markdown, junit, pictures       the forms
records, students, sampling, comparison         what is said of each kind of record
*_figure           what is drawn of it
"""
