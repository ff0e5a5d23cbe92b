"""How the dashboard in a terminal is laid out: one table at a time, or all where there is room."""

from __future__ import annotations

CSS = """
#head { height: 1; padding: 0 1; background: $primary; color: $text; }
#head.old { background: $error; height: auto; max-height: 3; }
#why {
    height: auto; max-height: 5; padding: 0 1;
    text-wrap: nowrap; text-overflow: ellipsis;
}
#tabs { height: 1; padding: 0 1; color: $text-muted; }
#panels { height: 1fr; }
Panel {
    scrollbar-size-horizontal: 0; border: round $foreground 30%;
    height: 1fr; width: 1fr; display: none;
}
Panel.current { display: block; border: round $accent; }
#filter { display: none; height: 3; }
#filter.open { display: block; }

.-wide #why { max-height: 11; }
.-wide #panels { layout: grid; grid-size: 2 3; }
.-wide Panel { display: block; }
.-wide #tasks { column-span: 2; }

ModalScreen { align: center middle; }
.dialog {
    width: 95%; max-width: 110; height: auto; max-height: 90%;
    border: round $accent; background: $surface; padding: 0 1;
}
.dialog.wide { max-width: 160; }
.dialog VerticalScroll { height: auto; max-height: 30; }
.dialog .title { text-style: bold; height: auto; }
.dialog .keys { color: $text-muted; height: 1; }
"""
