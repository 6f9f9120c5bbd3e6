"""The map: a page that runs where the analyst is, whose tiles are computed when they are looked at.

============  ==================================================================
notebook      `explore`: the map in a notebook
server        a port of this machine
guard         who may talk to it, what its pages may load
application   its addresses
sessions      what each open page has
layers        what is shown
tasks         what a page can begin, with the next three
acquire       searching and fetching
compute       cropping, sharpening and packing
jobs          work in a thread, its progress and its end
page_files    where the files of the page are; ``page/`` holds our own
============  ==================================================================
"""

from xsr.view.map.notebook import Explorer, explore

__all__ = ["Explorer", "explore"]
