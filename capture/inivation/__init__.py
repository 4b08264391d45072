"""iniVation cameras through dv-processing: a DAVIS346 on USB, and the same streams over TCP or Unix sockets."""
