"""Which 64-bit word of a ring's shared memory holds what. Who may write which: `capture.ring_memory`."""

# Words of the header.
(H_MAGIC, H_VERSION, H_OWNER, H_SLOTS, H_ARENA, H_READERS, H_WRITTEN, H_TAIL, H_FLOOR, H_BUSY, H_WRITER_PID,
 H_WRITER_TOKEN, H_WRITERS, H_ABORTED, H_LEASE_WAITS, H_REFUSED, H_BYTES) = range(17)  # fmt: skip
HEADER_WORDS = 64
LABEL_AT, LABEL_BYTES = 256, 128  # bytes within the header

# Words of a reader's entry.
(R_PID, R_TOKEN, R_LOSSLESS, R_LEASE, R_READ, R_LOST, R_SUPERSEDED, R_ABORTED, R_TORN,
 R_EXPIRED, R_ATTACHED) = range(11)  # fmt: skip
READER_WORDS = 32
NAME_AT, NAME_BYTES = 128, 128  # bytes within an entry

# Words of a descriptor.
D_GENERATION, D_START, D_END, D_META, D_SIZE, D_HOST_NS, D_ABORTED = range(7)
DESCRIPTOR_WORDS = 8
