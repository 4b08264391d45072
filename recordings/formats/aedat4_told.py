"""What an export to AEDAT4 says of its stream of frames beyond the format's own words, in its metadata.

Each is "true" where it stands. Other programs' files have none of them, and what gave them was one camera.
"""

OTHER_CAMERA = "halfmirrorOtherCamera"  # another one than gave the events, however equal their sizes are
ASSUMED = "halfmirrorOneSensorAssumed"  # nothing but equal sizes, and names, says that one sensor gave both
BY_DRIVER = "halfmirrorStampedByDriver"  # see `RecordingInfo.by_driver`
