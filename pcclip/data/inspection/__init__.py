"""The parts of `pcclip inspect`: checks of one record, statistics of all, the report and its look."""
