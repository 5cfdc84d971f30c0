"""Runs that wait, run and end while the page is open or closed: the queue, its processes, the warm preview process."""
