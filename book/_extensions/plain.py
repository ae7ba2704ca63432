"""Leaves thebe out of the pages: jupyter-book loads it everywhere, no page uses it, and its script fails."""


def setup(app):
    app.connect("html-page-context", without_thebe)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def without_thebe(app, pagename, templatename, context, doctree):
    for files in (context["script_files"], context["css_files"]):
        files[:] = [file for file in files if "thebe" not in str(file)]
