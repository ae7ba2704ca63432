// The theme would draw its icons by this script, of 1.5 MB on every page; the fonts that it ships draw them too.
