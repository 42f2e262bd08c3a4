"""A new plugin: a whole package, written out of templates.

The templates are data: files that end in ``.tmpl``, with ``$name`` where a name goes. ``common`` is written
for every plugin, the folder of its kind into its package.
"""

from matrixhub.scaffold.kinds import TEXT, Template, template_of
from matrixhub.scaffold.names import Names, check_free, names_of
from matrixhub.scaffold.package import render, write

__all__ = ["TEXT", "Names", "Template", "check_free", "names_of", "render", "template_of", "write"]
