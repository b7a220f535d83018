"""One file per verb: settings in, a record out. Nothing here prints or exits."""
