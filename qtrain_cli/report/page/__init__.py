"""One self-contained HTML page: what a person sends to a colleague.

    parts      what a page is made of: a headline, tiles, sections of drawings, tables and facts
    svg, axes  drawings as elements, which escape themselves; scales and ticks
    curves, strips, wires, crossings      the drawings: courses, intervals and bars, circuits, confusions
    artifact, comparison, students, sampling      what a page says of each kind of record
    render     a page -> HTML, by one template

The page loads nothing: style and script stand in it, and its policy allows these very texts and nothing else.
What it shows may be a stranger's: every text goes through `report.text.clipped` and is escaped by the
template or by the XML writer, nowhere by hand.

Drawings are small, so that they can be read on a telephone; wide screens lay several side by side. Colours
are classes (`template/page.css`), which light, dark and paper fill each in their own way; that is why they
are drawn here and not by Matplotlib, which would also be one more package to install.
"""
