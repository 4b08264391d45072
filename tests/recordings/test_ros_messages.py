"""Messages of ROS by themselves: their definitions, and where they end too early."""

from __future__ import annotations

import re

import pytest

from recordings.formats import ros_messages as ros
from tests.recordings.make_rosbag import ARRAY, Maker
from tests.recordings.test_ros_bag import events


def test_definitions_as_bags_tell_them() -> None:
    """With comments, constants, and the definitions of what is inside, as ROS 1 and 2 write them."""
    line = 80 * "="
    told = f"""# This message contains an array of events
# (0, 0) is at top-left corner of image
#

Header header

uint32 height         # image height, that is, number of rows
uint32 width          # image width, that is, number of columns
uint8 SOMETHING=3

# an array of events
Event[] events

{line}
MSG: std_msgs/Header
# Standard metadata
uint32 seq
time stamp
string frame_id

{line}
MSG: dvs_msgs/Event
# A DVS event
uint16 x
uint16 y
time ts
bool polarity
"""
    ros.require_layout(ARRAY, told)
    ros.require_layout(ARRAY, "")
    with pytest.raises(ros.Malformed, match="has the fields header, height, events instead of"):
        ros.require_layout(ARRAY, re.sub("uint32 width.*", "", told))
    with pytest.raises(ros.Malformed, match="has the fields x, y, time, polarity instead of"):
        ros.require_layout(ARRAY, told.replace("time ts", "uint64 time"))
    ros.require_layout("std_msgs/msg/Int32", "float32 data")  # nothing is known of those


def test_messages_that_are_cut_off() -> None:
    e = events()
    for kind in ("ros1", "ros2-mcap"):
        m = Maker(kind)
        serialise = m.store.serialize_ros1 if m.ros1 else m.store.serialize_cdr
        data = bytes(serialise(m.array(e, 0, 3), ARRAY))
        for n in range(len(data)):
            w = None
            with pytest.raises(ros.Malformed):
                w = ros.Wire(data[:n], not m.ros1)
                w.header()
                w.u32()
                w.u32()
                w.events()
    with pytest.raises(ros.Malformed, match="little-endian"):
        ros.Wire(b"\0\0\0\0abcd", True)
