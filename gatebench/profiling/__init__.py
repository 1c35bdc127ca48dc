"""`profile-latency`: networks timed on real inputs, side by side, and what their times say.

networks.py    RUN, MODEL or FILE.py -> a network with its inputs (outside.py: those from elsewhere)
contender.py   a network made ready, and everything of it that is timed
session.py     all contenders timed together at one batch size and number of threads
timing.py      times and MACs of one network -> claimed, executed, realised
record.py      what a session leaves in a run folder
view.py        a progress bar meanwhile
"""
