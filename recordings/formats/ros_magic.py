"""How bags of ROS begin: ROS 1; ROS 2 as one MCAP or SQLite file, or a folder with its metadata."""

from __future__ import annotations

BAG_1 = b"#ROSBAG V2.0"
BAG_MAGICS = (BAG_1, b"\x89MCAP0\r\n", b"SQLite format 3\0")
BAG_EXTENSIONS = (".bag", ".mcap", ".db3")
BAG_METADATA = "metadata.yaml"
